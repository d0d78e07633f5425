package rules

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Channel is who brings a request: one of the public channels CH-01 … CH-10, or
// a part of the operator. Others than these may stand in the data.
type Channel string

const (
	ChannelApp        Channel = "app"          // CH-01
	ChannelMini       Channel = "mini-program" // CH-02
	ChannelMetro      Channel = "metro-mini"   // CH-03
	ChannelMachine    Channel = "machine"      // CH-04
	ChannelWindow     Channel = "window"       // CH-05
	ChannelPoint      Channel = "top-up-point" // CH-06
	ChannelHall       Channel = "hall"         // CH-07
	ChannelHotline    Channel = "hotline"      // CH-08
	ChannelWeChat     Channel = "wechat"       // CH-09
	ChannelHealthKit  Channel = "health-kit"   // CH-10, UPG-11
	ChannelYitongxing Channel = "yitongxing"   // CH-10, as all below
	ChannelBus        Channel = "bus"
	ChannelAlipay     Channel = "alipay"
	ChannelUnionPay   Channel = "unionpay"
	ChannelCMB        Channel = "cmb"
	ChannelPartner    Channel = "partner"

	ChannelBackOffice   Channel = "back-office"   // authorities, schools, issuer
	ChannelHealthSource Channel = "health-source" // reports of statuses
	ChannelOps          Channel = "ops"           // the operator's own staff
)

// Function is what a channel may be entitled to. There is none to block a card
// (TOP-08).
type Function string

const (
	FunctionUpgrade    Function = "upgrade"    // and a look at one's own bindings
	FunctionHelp       Function = "help"       // UPG-05
	FunctionUnbind     Function = "unbind"     // UNB-01
	FunctionRideCode   Function = "ride_code"  // RC-01, RC-04
	FunctionGuardian   Function = "guardian"   // a parent withdraws (BO-03)
	FunctionLookUp     Function = "look_up"    // NUM-02
	FunctionTopUp      Function = "top_up"     // TOP-01
	FunctionNewCard    Function = "new_card"   // TOP-04
	FunctionReturn     Function = "return"     // UNB-05
	FunctionBackOffice Function = "lists"      // BO-01 … BO-03, IMP-28, IMP-29
	FunctionResolve    Function = "resolve"    // conflicts
	FunctionReport     Function = "report"     // IMP-12
	FunctionPersons    Function = "persons"    // merge, split, delete
	FunctionStatistics Function = "statistics" // TIME-04
)

func functions() []Function {
	return []Function{FunctionUpgrade, FunctionHelp, FunctionUnbind, FunctionRideCode, FunctionGuardian, FunctionLookUp, FunctionTopUp,
		FunctionNewCard, FunctionReturn, FunctionBackOffice, FunctionResolve, FunctionReport, FunctionPersons, FunctionStatistics}
}

// Matrix says which functions each channel may use (CH-R2). A channel that is
// not named may use none.
type Matrix map[Channel][]Function

// allows reports whether a channel may use a function.
func (m Matrix) allows(c Channel, f Function) bool { return slices.Contains(m[c], f) }

// Entitled reports whether a channel may use the function that a command needs. Decide
// asks too: this is for a door that would rather not read what will be refused.
func (r *Rules) Entitled(c Channel, command Command, now time.Time) bool {
	f := command.function()
	return f == "" || r.Channels.At(now).allows(c, f)
}

// NotEntitled is the refusal of a channel that may not (CH-R2).
func NotEntitled() *Refusal { return refuse(CodeChannel) }

func (m Matrix) faults(fault faultFunc) {
	fault(len(m) <= maxChannels, "", fmt.Sprintf("%d channels, at most %d", len(m), maxChannels))
	for _, c := range slices.Sorted(maps.Keys(m)) {
		fault(validName(string(c)), fmt.Sprintf("%.40q", c), nameForm)
		for i, f := range m[c] {
			known := slices.Contains(functions(), f) && !slices.Contains(m[c][:i], f)
			fault(known, fmt.Sprintf("%.40s[%d]", c, i), fmt.Sprintf("given twice, or not one of %v", functions()))
		}
	}
}
