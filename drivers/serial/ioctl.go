package serial

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The request numbers are those of golang.org/x/sys/unix; the structures they
// take are not in it. Each is laid out here in 32-bit words, after
// include/uapi/linux/serial.h of the kernel, the same on every machine up to
// the last word that is used here.

// rs485Settings is struct serial_rs485: flags, delay_rts_before_send and
// delay_rts_after_send in milliseconds, then a union of five words.
type rs485Settings [8]uint32

// wordRS485Flags is the word of rs485Settings that holds the flags below, the
// SER_RS485_… of linux/serial.h.
const wordRS485Flags = 0

const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1 // RTS is up while sending
	rs485RTSAfterSend = 1 << 2 // RTS is up while not sending
	rs485RxDuringTx   = 1 << 4 // the port hears itself
)

// portSettings is struct serial_struct: type, line, port, irq, flags, and what
// is only written back as it was read. It has 72 bytes on 64-bit machines and
// fewer on 32-bit ones.
type portSettings [18]uint32

// wordPortFlags is the word of portSettings that holds the flags, among them
// asyncLowLatency, ASYNC_LOW_LATENCY of linux/tty_flags.h.
const (
	wordPortFlags   = 4
	asyncLowLatency = 1 << 13
)

// counters is struct serial_icounter_struct: cts, dsr, rng, dcd, rx, tx, the
// five words below, and nine reserved ones.
type counters [20]uint32

const (
	wordFrame         = 6
	wordOverrun       = 7
	wordParity        = 8
	wordBreak         = 9
	wordBufferOverrun = 10
)

// ioctl calls request with words, which the kernel reads or fills. They have
// the size that request expects.
func ioctl(fd int, request uint, words []uint32) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&words[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
