package osdp_test

import (
	"testing"

	"gateline/drivers/drivertest"
	"gateline/drivers/drivertest/gates"
)

func TestConformance(t *testing.T) { drivertest.Suite(t, gates.OSDP(false)) }

func TestConformanceSecure(t *testing.T) { drivertest.Suite(t, gates.OSDP(true)) }
