package osdp

import "fmt"

// Commands, CP to PD. What follows each is its data.
const (
	CmdPOLL         byte = 0x60 // none; the answer is ACK or one waiting report
	CmdID           byte = 0x61 // 00; PDID
	CmdCAP          byte = 0x62 // 00; PDCAP
	CmdLSTAT        byte = 0x64 // none; LSTATR
	CmdISTAT        byte = 0x65 // none; ISTATR
	CmdOSTAT        byte = 0x66 // none; OSTATR
	CmdRSTAT        byte = 0x67 // none; RSTATR
	CmdOUT          byte = 0x68 // Out records; OSTATR or ACK
	CmdLED          byte = 0x69 // LED records; ACK
	CmdBUZ          byte = 0x6a // Buz records; ACK
	CmdTEXT         byte = 0x6b // Text; ACK
	CmdCOMSET       byte = 0x6e // Com; COM
	CmdBIOREAD      byte = 0x73
	CmdBIOMATCH     byte = 0x74
	CmdKEYSET       byte = 0x75 // a Key, only in a session; ACK
	CmdCHLNG        byte = 0x76 // RND.A; CCRYPT
	CmdSCRYPT       byte = 0x77 // server cryptogram; RMAC_I
	CmdACURXSIZE    byte = 0x7b // longest frame the CP takes; ACK
	CmdFILETRANSFER byte = 0x7c
	CmdMFG          byte = 0x80 // OUI and vendor data; ACK, MFGREP or NAK
	CmdXWR          byte = 0xa1
	CmdABORT        byte = 0xa2 // none; ACK
	CmdPIVDATA      byte = 0xa3
	CmdGENAUTH      byte = 0xa4
	CmdCRAUTH       byte = 0xa5
	CmdKEEPACTIVE   byte = 0xa7 // milliseconds; ACK
)

// Replies, PD to CP. What follows each is its data.
const (
	ReplyACK       byte = 0x40 // none
	ReplyNAK       byte = 0x41 // NAK
	ReplyPDID      byte = 0x45 // PDID
	ReplyPDCAP     byte = 0x46 // Capabilities
	ReplyLSTATR    byte = 0x48 // LocalStatus
	ReplyISTATR    byte = 0x49 // one byte per input
	ReplyOSTATR    byte = 0x4a // one byte per output
	ReplyRSTATR    byte = 0x4b // one byte per reader
	ReplyRAW       byte = 0x50 // Read
	ReplyFMT       byte = 0x51 // Formatted
	ReplyKEYPAD    byte = 0x53 // Keypad
	ReplyCOM       byte = 0x54 // Com
	ReplyBIOREADR  byte = 0x57
	ReplyBIOMATCHR byte = 0x58
	ReplyCCRYPT    byte = 0x76 // CCrypt
	ReplyRMACI     byte = 0x78 // initial R-MAC
	ReplyBUSY      byte = 0x79 // none, never in Secure Channel
	ReplyFTSTAT    byte = 0x7a
	ReplyPIVDATAR  byte = 0x80
	ReplyGENAUTHR  byte = 0x81
	ReplyCRAUTHR   byte = 0x82
	ReplyMFGSTATR  byte = 0x83 // OUI and vendor data
	ReplyMFGERRR   byte = 0x84 // OUI and vendor data
	ReplyMFGREP    byte = 0x90 // OUI and vendor data
	ReplyXRD       byte = 0xb1
)

// CommandName is the standard's name of a command, or its code.
func CommandName(code byte) string { return nameOf(commandNames[:], code) }

// ReplyName is the standard's name of a reply, or its code.
func ReplyName(code byte) string { return nameOf(replyNames[:], code) }

type codeName struct {
	code byte
	name string
}

func nameOf(names []codeName, code byte) string {
	for _, n := range names {
		if n.code == code {
			return n.name
		}
	}
	return fmt.Sprintf("%02X", code)
}

// The tables are constants in all but syntax.
var commandNames = [...]codeName{
	{CmdPOLL, "POLL"}, {CmdID, "ID"}, {CmdCAP, "CAP"}, {CmdLSTAT, "LSTAT"}, {CmdISTAT, "ISTAT"},
	{CmdOSTAT, "OSTAT"}, {CmdRSTAT, "RSTAT"}, {CmdOUT, "OUT"}, {CmdLED, "LED"}, {CmdBUZ, "BUZ"},
	{CmdTEXT, "TEXT"}, {CmdCOMSET, "COMSET"}, {CmdBIOREAD, "BIOREAD"}, {CmdBIOMATCH, "BIOMATCH"},
	{CmdKEYSET, "KEYSET"}, {CmdCHLNG, "CHLNG"}, {CmdSCRYPT, "SCRYPT"}, {CmdACURXSIZE, "ACURXSIZE"},
	{CmdFILETRANSFER, "FILETRANSFER"}, {CmdMFG, "MFG"}, {CmdXWR, "XWR"}, {CmdABORT, "ABORT"},
	{CmdPIVDATA, "PIVDATA"}, {CmdGENAUTH, "GENAUTH"}, {CmdCRAUTH, "CRAUTH"}, {CmdKEEPACTIVE, "KEEPACTIVE"},
}

var replyNames = [...]codeName{
	{ReplyACK, "ACK"}, {ReplyNAK, "NAK"}, {ReplyPDID, "PDID"}, {ReplyPDCAP, "PDCAP"}, {ReplyLSTATR, "LSTATR"},
	{ReplyISTATR, "ISTATR"}, {ReplyOSTATR, "OSTATR"}, {ReplyRSTATR, "RSTATR"}, {ReplyRAW, "RAW"}, {ReplyFMT, "FMT"},
	{ReplyKEYPAD, "KEYPAD"}, {ReplyCOM, "COM"}, {ReplyBIOREADR, "BIOREADR"}, {ReplyBIOMATCHR, "BIOMATCHR"},
	{ReplyCCRYPT, "CCRYPT"}, {ReplyRMACI, "RMAC_I"}, {ReplyBUSY, "BUSY"}, {ReplyFTSTAT, "FTSTAT"},
	{ReplyPIVDATAR, "PIVDATAR"}, {ReplyGENAUTHR, "GENAUTHR"}, {ReplyCRAUTHR, "CRAUTHR"},
	{ReplyMFGSTATR, "MFGSTATR"}, {ReplyMFGERRR, "MFGERRR"}, {ReplyMFGREP, "MFGREP"}, {ReplyXRD, "XRD"},
}

// NAKCode says why a PD refuses a command.
type NAKCode byte

const (
	NAKCheck       NAKCode = 0x01 // bad check characters
	NAKLength      NAKCode = 0x02 // the command's length
	NAKUnknown     NAKCode = 0x03 // unknown or unsupported command
	NAKSequence    NAKCode = 0x04 // unexpected SQN
	NAKBlock       NAKCode = 0x05 // security block not supported, or cryptogram refused
	NAKSecurity    NAKCode = 0x06 // Secure Channel required, or its conditions not met
	NAKBioType     NAKCode = 0x07 // biometric type not supported
	NAKBioFormat   NAKCode = 0x08 // biometric format not supported
	NAKRecord      NAKCode = 0x09 // a record cannot be processed
	NAKUnspecified NAKCode = 0xff
)

// String is for an operator's eyes.
func (c NAKCode) String() string {
	switch c {
	case NAKCheck:
		return "bad check characters"
	case NAKLength:
		return "wrong command length"
	case NAKUnknown:
		return "command not supported"
	case NAKSequence:
		return "unexpected sequence number"
	case NAKBlock:
		return "security block or cryptogram refused"
	case NAKSecurity:
		return "secure channel required"
	case NAKBioType:
		return "biometric type not supported"
	case NAKBioFormat:
		return "biometric format not supported"
	case NAKRecord:
		return "a record cannot be processed"
	}
	return fmt.Sprintf("reason %02X", byte(c))
}

// Function is what a PDCAP record is about.
type Function byte

const (
	FuncInputs     Function = 1
	FuncOutputs    Function = 2 // 1 on/off, 2 also invertible, 3 on/off and timed, 4 all
	FuncCardData   Function = 3 // 1 bits, 2 BCD, 3 both
	FuncLEDs       Function = 4 // 1 on/off, 2 timed, 3 two colours, 4 three colours
	FuncBuzzer     Function = 5 // 1 on/off, 2 timed
	FuncText       Function = 6 // 0 none, 1 1x16, 2 2x16, 3 4x16
	FuncTime       Function = 7 // obsolete
	FuncCheck      Function = 8 // 1 = CRC-16
	FuncSecurity   Function = 9 // compliance bit 0 AES-128; count bit 0 default key in use
	FuncRxBuffer   Function = 10
	FuncCombined   Function = 11 // longest message of several parts
	FuncSmartCard  Function = 12 // bit 0 transparent, bit 1 extended
	FuncReaders    Function = 13
	FuncBiometrics Function = 14
	FuncSecurePIN  Function = 15
	FuncVersion    Function = 16 // 1 IEC 60839-11-5, 2 SIA 2.2
)

// NextSQN returns the sequence number that follows sqn: 0, 1, 2, 3, 1, 2, 3 ...
// 0 appears only at a start.
func NextSQN(sqn byte) byte {
	if sqn >= 3 {
		return 1
	}
	return sqn + 1
}
