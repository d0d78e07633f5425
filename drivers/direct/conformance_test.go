package direct_test

import (
	"testing"

	"gateline/drivers/drivertest"
	"gateline/drivers/drivertest/gates"
)

func TestConformance(t *testing.T) { drivertest.Suite(t, gates.Direct(false)) }

func TestConformanceProven(t *testing.T) { drivertest.Suite(t, gates.Direct(true)) }
