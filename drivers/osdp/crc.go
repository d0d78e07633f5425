package osdp

const (
	crcPolynomial = 0x1021
	crcInitial    = 0x1d0f
)

// crcTable is a constant in all but syntax.
var crcTable = makeCRCTable()

func makeCRCTable() (table [256]uint16) {
	for i := range table {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ crcPolynomial
			} else {
				c <<= 1
			}
		}
		table[i] = c
	}
	return table
}

// crc16 is the check of a frame with CRC: polynomial 1021, initial value 1D0F,
// not reflected. It goes over the wire low byte first.
func crc16(b []byte) uint16 {
	crc := uint16(crcInitial)
	for _, c := range b {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^c]
	}
	return crc
}

// checksum is the check of a frame without CRC: it makes the sum of all bytes
// zero.
func checksum(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}
