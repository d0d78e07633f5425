package station

import (
	"crypto/rand"
	"fmt"
	"time"

	"gateline/drivers"
	"gateline/drivers/direct"
	"gateline/drivers/osdp"
)

// newSession returns the session that speaks a line's protocol.
func newSession(lc LineConfig, table *drivers.GateTable, counters *drivers.Counters, now time.Time) (drivers.Session, error) {
	if lc.Protocol == ProtocolOSDP {
		return newReaders(lc, table, counters, now)
	}
	keys := make(map[uint8][direct.KeySize]byte)
	for _, g := range lc.Gates {
		if g.KeyFile == "" {
			continue
		}
		key, err := readGateKey(g.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("gate %q: %w", g.Name, err)
		}
		keys[g.Address] = key
	}
	return direct.NewBox(direct.BoxConfig{Gates: table, Keys: keys, Counters: counters}), nil
}

func newReaders(lc LineConfig, table *drivers.GateTable, counters *drivers.Counters, now time.Time) (drivers.Session, error) {
	c := osdp.CPConfig{
		Baud: lc.Serial.Baud, Gates: table, Reads: lc.Reads, Counters: counters,
		Random: func() (a [8]byte) {
			_, _ = rand.Read(a[:]) // never fails, says its documentation
			return a
		},
	}
	signals := lc.signals()
	for _, g := range lc.Gates {
		d := osdp.Device{Address: g.Address, Signals: signals, Purpose: g.Purpose}
		if g.KeyFile != "" {
			key, err := readReaderKey(g.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("gate %q: %w", g.Name, err)
			}
			d.Key = &key
		}
		c.Devices = append(c.Devices, d)
	}
	return osdp.NewCP(c, now)
}
