package direct

// Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999) for blocks of at
// most 254 bytes: the encoded form holds no zero byte, so a zero byte always
// ends a frame and a receiver finds the next one after any damage.

// encodeCOBS encodes in place the body that stands in block after its first
// byte. block has at most 255 bytes.
func encodeCOBS(block []byte) {
	code := 0
	for i := 1; i < len(block); i++ {
		if block[i] == 0 {
			block[code] = byte(i - code)
			code = i
		}
	}
	block[code] = byte(len(block) - code)
}

// decodeCOBS decodes block in place and returns the body. ok is false where
// the block is not what encodeCOBS leaves.
func decodeCOBS(block []byte) (body []byte, ok bool) {
	if len(block) == 0 || len(block) > 255 {
		return nil, false
	}
	for code := 0; ; {
		distance := int(block[code])
		block[code] = 0
		code += distance
		switch {
		case distance == 0 || code > len(block):
			return nil, false
		case code == len(block):
			return block[1:], true
		}
	}
}
