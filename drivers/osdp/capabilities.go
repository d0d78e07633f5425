package osdp

// Capabilities is what a PD says of itself in PDCAP. It is not protected and
// decides nothing about security.
type Capabilities struct {
	Inputs      byte
	Outputs     byte
	OutputLevel byte // 1 on/off, 2 also invertible, 3 on/off and timed, 4 all
	CardData    byte // 1 bits, 2 BCD, 3 both
	LEDs        byte // of each reader
	LEDLevel    byte // 1 on/off, 2 timed, 3 two colours, 4 three colours
	BuzzerLevel byte // 1 on/off, 2 timed
	Displays    byte
	TextLevel   byte // 0 none, 1 1x16, 2 2x16, 3 4x16
	CRC         bool
	AES         bool
	DefaultKey  bool // it still has the default key
	RxBuffer    int  // longest frame it takes, 128..1440
	Combined    int  // longest message of several parts
	Transparent bool // smart cards in transparent mode
	Readers     byte
	Version     byte // 1 IEC 60839-11-5, 2 SIA 2.2
}

// DefaultCapabilities is what is assumed of a PD that has not said anything:
// one reader, and the shortest buffer.
func DefaultCapabilities() Capabilities {
	return Capabilities{RxBuffer: MinRxBuffer, Readers: 1}
}

// TimedOutput reports whether an output switches back by itself.
func (c *Capabilities) TimedOutput() bool { return c.Outputs > 0 && c.OutputLevel >= 3 }

// TimedLED reports whether an LED's temporary state ends by itself.
func (c *Capabilities) TimedLED() bool { return c.LEDs > 0 && c.LEDLevel >= 2 }

// Sound reports whether there is a buzzer.
func (c *Capabilities) Sound() bool { return c.BuzzerLevel > 0 }

// Text reports whether there is a display.
func (c *Capabilities) Text() bool { return c.TextLevel > 0 && c.Displays > 0 }

// AppendPDCAP appends the data of PDCAP.
func AppendPDCAP(b []byte, c *Capabilities) []byte {
	bit := func(on bool) byte {
		if on {
			return 1
		}
		return 0
	}
	for _, r := range [...]struct {
		function     Function
		level, count byte
	}{
		{FuncInputs, bit(c.Inputs > 0), c.Inputs},
		{FuncOutputs, c.OutputLevel, c.Outputs},
		{FuncCardData, c.CardData, 0},
		{FuncLEDs, c.LEDLevel, c.LEDs},
		{FuncBuzzer, c.BuzzerLevel, bit(c.BuzzerLevel > 0)},
		{FuncText, c.TextLevel, c.Displays},
		{FuncCheck, bit(c.CRC), 0},
		{FuncSecurity, bit(c.AES), bit(c.DefaultKey)},
		{FuncRxBuffer, byte(c.RxBuffer), byte(c.RxBuffer >> 8)},
		{FuncCombined, byte(c.Combined), byte(c.Combined >> 8)},
		{FuncSmartCard, bit(c.Transparent), 0},
		{FuncReaders, 0, c.Readers},
		{FuncVersion, c.Version, 0},
	} {
		b = append(b, byte(r.function), r.level, r.count)
	}
	return b
}

// ParsePDCAP reads the data of PDCAP over DefaultCapabilities. Functions it
// does not know it skips; of one named twice the last counts. A buffer size
// out of the standard's bounds is brought into them. The error wraps ErrLength.
func ParsePDCAP(data []byte) (Capabilities, error) {
	c := DefaultCapabilities()
	if err := records(data, "PDCAP", capSize); err != nil {
		return c, err
	}
	for ; len(data) > 0; data = data[capSize:] {
		c.set(Function(data[0]), data[1], data[2])
	}
	return c, nil
}

func (c *Capabilities) set(function Function, level, count byte) {
	switch function {
	case FuncInputs:
		c.Inputs = count
	case FuncOutputs:
		c.OutputLevel, c.Outputs = level, count
	case FuncCardData:
		c.CardData = level
	case FuncLEDs:
		c.LEDLevel, c.LEDs = level, count
	case FuncBuzzer:
		c.BuzzerLevel = level
	case FuncText:
		c.TextLevel, c.Displays = level, count
	case FuncCheck:
		c.CRC = level&1 != 0
	case FuncSecurity:
		c.AES, c.DefaultKey = level&1 != 0, count&1 != 0
	case FuncRxBuffer:
		c.RxBuffer = min(max(int(level)|int(count)<<8, MinRxBuffer), MaxFrame)
	case FuncCombined:
		c.Combined = int(level) | int(count)<<8
	case FuncSmartCard:
		c.Transparent = level&1 != 0
	case FuncReaders:
		c.Readers = count
	case FuncVersion:
		c.Version = level
	}
}

// TypicalCapabilities is a gate's reader with an output that switches back by
// itself, an LED of three colours, a buzzer, a display and Secure Channel.
func TypicalCapabilities() Capabilities {
	return Capabilities{
		Outputs: 1, OutputLevel: 3, CardData: 1, LEDs: 1, LEDLevel: 4, BuzzerLevel: 2, Displays: 1, TextLevel: 1,
		CRC: true, AES: true, RxBuffer: 256, Readers: 1, Version: 2,
	}
}
