package station

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"gateline/gateway"
)

// switchesName is the name under which the switches are kept in the store, so
// that they survive a restart.
const switchesName = "switches"

// localStore keeps the box's own settings.
type localStore interface {
	LoadLocal(name string) ([]byte, error)
	SaveLocal(name string, value []byte) error
}

// Switches are the local overrides of the station and of single gates: staff
// work them without the centre (IMP-22, GATE-09). Reading them takes no lock.
type Switches struct {
	store   localStore
	log     *slog.Logger
	station atomic.Uint32
	gates   map[string]*atomic.Uint32 // by gate name; does not change

	mu sync.Mutex // serialises Set
}

// SwitchState is what the switches stand at; gates on auto are left out.
type SwitchState struct {
	Station gateway.Switch            `json:"station"`
	Gates   map[string]gateway.Switch `json:"gates,omitempty"`
}

// openSwitches returns the switches of the named gates as they were left.
func openSwitches(store localStore, gates []string, log *slog.Logger) (*Switches, error) {
	s := &Switches{store: store, log: log, gates: make(map[string]*atomic.Uint32)}
	for _, g := range gates {
		s.gates[g] = new(atomic.Uint32)
	}
	raw, err := store.LoadLocal(switchesName)
	if err != nil {
		return nil, fmt.Errorf("load the local switches: %w", err)
	}
	if raw == nil {
		return s, nil
	}
	var state SwitchState
	if err := json.Unmarshal(raw, &state); err != nil {
		// Nobody knows what staff had switched. Manual accuses and opens for
		// nobody, and they see it at once.
		state = SwitchState{Station: gateway.SwitchManual}
		log.Error("the local switches cannot be read, so the station starts on manual: see to it with gateline switch", "error", err)
	}
	s.station.Store(uint32(state.Station))
	for name, v := range state.Gates {
		if g := s.gates[name]; g != nil {
			g.Store(uint32(v))
		}
	}
	if state.Station != gateway.SwitchAuto || len(state.Gates) > 0 {
		log.Warn("local switches are as they were left, not all on auto", "station", state.Station.String(), "gates", len(state.Gates))
	}
	return s, nil
}

// Set works the station's switch, or a gate's where gate is not empty. It is in
// force when Set returns and survives a restart.
func (s *Switches) Set(gate string, to gateway.Switch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	target := &s.station
	if gate != "" {
		if target = s.gates[gate]; target == nil {
			return fmt.Errorf("there is no gate %.40q: the configuration has %v", gate, s.names())
		}
	}
	last := target.Swap(uint32(to))
	raw, err := json.Marshal(s.State())
	if err == nil {
		err = s.store.SaveLocal(switchesName, raw)
	}
	s.log.Warn("local switch", "gate", gate, "from", gateway.Switch(last).String(), "to", to.String())
	if err != nil {
		return fmt.Errorf("the switch is in force but will not survive a restart: %w", err)
	}
	return nil
}

// State returns what the switches stand at.
func (s *Switches) State() SwitchState {
	state := SwitchState{Station: gateway.Switch(s.station.Load())}
	for name, g := range s.gates {
		if v := gateway.Switch(g.Load()); v != gateway.SwitchAuto {
			if state.Gates == nil {
				state.Gates = make(map[string]gateway.Switch)
			}
			state.Gates[name] = v
		}
	}
	return state
}

func (s *Switches) names() []string {
	var names []string
	for name := range s.gates {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
