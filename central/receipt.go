package central

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gateline/central/ledgercopy"
	"gateline/gateway"
	"gateline/internal/durable"
)

// ReceiptsFolder is the folder of the receipts in Config.Dir.
const ReceiptsFolder = "receipts"

// Receipt says what Compact has destroyed, and what is left (PRV-04).
type Receipt struct {
	V int `json:"v"` // 1
	// At is when it was destroyed, by the centre's clock.
	At time.Time `json:"at"`
	// Destroyed are the messages that the ledger had, Kept those of the snapshot that
	// is left.
	Destroyed ReceiptLedger `json:"destroyed"`
	Kept      ReceiptLedger `json:"kept"`
	// Persons have at least one of the Credentials that are left.
	Persons     int `json:"persons"`
	Credentials int `json:"credentials"`
	// FeedKeep is how long entries of the feed, and the snapshots of shards they
	// belong to, may still be there, "0s" = both were removed; "" = for ever.
	FeedKeep string `json:"feed_keep,omitempty"`
	// Key is the feed's key that Signature, hexadecimal, was made with: over
	// "gateline receipt v1", a zero byte and this document without it.
	Key       string `json:"key"`
	Signature string `json:"signature,omitempty"`
}

// ReceiptLedger is a ledger from its First to its Last message. Chain, hexadecimal,
// is SHA-256 over the chain up to the message before and the message, beginning with 32
// zero bytes: who has a backup can tell whether it is of that ledger.
type ReceiptLedger struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Chain string `json:"chain"`
}

func receiptLedger(c *ledgercopy.Copy) ReceiptLedger {
	chain := c.Chain()
	return ReceiptLedger{First: c.First(), Last: c.Last(), Chain: hex.EncodeToString(chain[:])}
}

// ErrReceipt is wrapped by the errors of ReadReceipt.
var ErrReceipt = errors.New("bad receipt")

const receiptContext = "gateline receipt v1\x00"

// text is what is signed.
func (r Receipt) text() ([]byte, error) {
	r.Signature = ""
	document, err := json.Marshal(r)
	return append([]byte(receiptContext), document...), err
}

func (r *Receipt) sign(secret gateway.FeedSecret) error {
	r.Key = secret.Public().String()
	text, err := r.text()
	if err == nil {
		r.Signature = hex.EncodeToString(ed25519.Sign(secret.Signer(), text))
	}
	return err
}

// ReadReceipt reads a receipt that was signed with the key it names. Whether that key
// is the centre's is for the caller to say.
func ReadReceipt(data []byte) (Receipt, error) {
	var r Receipt
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() {
		return r, fmt.Errorf("%w: it is no such document; give the file as the centre wrote it", ErrReceipt)
	}
	if r.V != 1 {
		return r, fmt.Errorf("%w: version %d, this program knows 1", ErrReceipt, r.V)
	}
	key, err := gateway.ParseFeedKey(r.Key)
	if err != nil {
		return r, fmt.Errorf("%w: its key: %w", ErrReceipt, err)
	}
	text, err := r.text()
	signature, hexErr := hex.DecodeString(r.Signature)
	if err != nil || hexErr != nil || !key.Verify(text, signature) {
		return r, fmt.Errorf("%w: its signature is not that of the key %v; it was changed, or made up", ErrReceipt, key.ID())
	}
	return r, nil
}

// pendingReceipt is the receipt of a Compact that is not finished.
const pendingReceipt = "pending"

func (c *compactor) receiptPath(name string) string {
	return filepath.Join(c.path(ReceiptsFolder), name)
}

// begin notes what the receipt is going to say. It is signed at the end.
func (c *compactor) begin(plan CompactPlan, compacted *ledgercopy.Copy) error {
	r := Receipt{V: 1, Destroyed: receiptLedger(c.copy), Kept: receiptLedger(compacted), Persons: plan.Persons, Credentials: plan.Credentials}
	err := os.MkdirAll(c.path(ReceiptsFolder), 0o700)
	if err == nil {
		err = c.storeReceipt(pendingReceipt, r)
	}
	if err != nil {
		return fmt.Errorf("begin the receipt: %w; see to the disk, then run this again", err)
	}
	return nil
}

func (c *compactor) storeReceipt(name string, r Receipt) error {
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(c.receiptPath(name), append(document, '\n'), 0o600)
}

// pending returns the receipt of a Compact that has put its copy in the place of the
// old one and was then broken off.
func (c *compactor) pending() (r Receipt, swapped bool, err error) {
	data, err := os.ReadFile(c.receiptPath(pendingReceipt))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, false, fmt.Errorf("read the receipt that was begun, %s: %w; remove the file and run this again", c.receiptPath(pendingReceipt), err)
	}
	return r, c.copy.Last() >= c.copy.First() && r.Kept == receiptLedger(c.copy), nil
}

// finishReceipt signs what was begun and gives it its name.
func (c *compactor) finishReceipt() (Receipt, error) {
	r, swapped, err := c.pending()
	if err == nil && !swapped {
		err = errors.New("it is not that of the ledger; report this")
	}
	if err == nil {
		r.At, r.FeedKeep = c.cfg.Config.Now().UTC().Truncate(time.Second), c.feedKeep()
		err = r.sign(c.cfg.Config.FeedKeys[0])
	}
	if err == nil {
		err = c.storeReceipt(fmt.Sprintf("compact-%d.json", r.Destroyed.Last), r)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("finish the receipt: %w; see to the disk, then run this again", err)
	}
	return r, nil
}

// endReceipt removes what was begun, when nothing needs it any more.
func (c *compactor) endReceipt() error {
	if err := os.Remove(c.receiptPath(pendingReceipt)); err != nil {
		return fmt.Errorf("remove the receipt that was begun: %w; it does no harm", err)
	}
	return nil
}

func (c *compactor) feedKeep() string {
	switch keep := c.cfg.Config.FeedKeep; {
	case c.cfg.NewEpoch:
		return "0s"
	case keep == 0:
		return ""
	default:
		return keep.String()
	}
}
