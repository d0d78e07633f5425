// Package linkkey makes and reads what both ends of the link between box and
// centre are let in by: certificates for TLS, and for each station an nkey, with
// which NATS knows it. No error shows anything of a key.
//
// A link file is PEM: the owner's certificate and its private key, the
// certificate of the authority that signs for the other end, and at a station
// the seed of its nkey.
package linkkey

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nats-io/nkeys"
)

// CentreName is the name that the centre's certificate holds, whatever address
// it is reached under: the authority signs for nobody else.
const CentreName = "gateline-centre"

// MaxSize is the size in bytes above which a file is no link file.
const MaxSize = 64 << 10

// The types of the blocks of a link file.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
	blockSeed        = "NATS USER SEED"
)

// ErrLink is wrapped by the errors of a file that is no link file.
var ErrLink = errors.New("not a link file")

// Link is what a link file holds.
type Link struct {
	// Name is the common name of the owner's certificate.
	Name string

	certificate tls.Certificate
	authorities *x509.CertPool
	// Seed is that of a station's nkey, empty at the centre.
	seed string
}

// Read reads the link file at path. Nobody but owner and group may have access
// to it. The error names the file and the next step.
func Read(path string) (*Link, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("link file: %w: gateline link-key makes it; put it there, owned by the service's user, mode 0600", err)
	case err != nil:
		return nil, fmt.Errorf("link file: %w: its owner or group must be the service's user", err)
	case !info.Mode().IsRegular() || info.Size() > MaxSize:
		return nil, fmt.Errorf("link file %s: %w: it is not a regular file of at most %d bytes", path, ErrLink, MaxSize)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("link file %s is open to everybody (mode %04o): chmod 0600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("link file: %w: its owner or group must be the service's user", err)
	}
	l, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("link file %s: %w: gateline link-key makes one that is right", path, err)
	}
	return l, nil
}

// Parse reads the text of a link file. The error wraps ErrLink.
func Parse(text []byte) (*Link, error) {
	var own, key []byte
	l := &Link{authorities: x509.NewCertPool()}
	authorities := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case blockCertificate:
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%w: a certificate in it cannot be read", ErrLink)
			}
			if certificate.IsCA {
				l.authorities.AddCert(certificate)
				authorities++
				continue
			}
			l.Name = certificate.Subject.CommonName
			own = append(own, pem.EncodeToMemory(block)...)
		case blockKey:
			key = pem.EncodeToMemory(block)
		case blockSeed:
			l.seed = string(block.Bytes)
		}
	}
	switch {
	case own == nil || key == nil:
		return nil, fmt.Errorf("%w: it lacks a certificate of its owner, or the private key", ErrLink)
	case authorities == 0:
		return nil, fmt.Errorf("%w: it lacks the authority's certificate", ErrLink)
	}
	var err error
	if l.certificate, err = tls.X509KeyPair(own, key); err != nil {
		return nil, fmt.Errorf("%w: certificate and private key are not of one pair", ErrLink)
	}
	if l.seed != "" {
		if _, err := publicOf(l.seed); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func publicOf(seed string) (string, error) {
	pair, err := nkeys.FromSeed([]byte(seed))
	if err == nil {
		defer pair.Wipe()
		var public string
		if public, err = pair.PublicKey(); err == nil && nkeys.IsValidPublicUserKey(public) {
			return public, nil
		}
	}
	return "", fmt.Errorf("%w: the seed in it is not that of a NATS user", ErrLink)
}

// Public returns the public part of a station's nkey (U…), "" at the centre.
func (l *Link) Public() string {
	public, _ := publicOf(l.seed)
	return public
}

// Seed returns the seed of a station's nkey (SU…), a secret; "" at the centre.
func (l *Link) Seed() string { return l.seed }

// Server returns the centre's TLS configuration: a box shows a certificate of
// the authority's or is not heard.
func (l *Link) Server() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{l.certificate}, MinVersion: tls.VersionTLS13,
		ClientCAs: l.authorities, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// Client returns a box's TLS configuration: the authority has signed for the
// centre's name, whatever the address.
func (l *Link) Client() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{l.certificate}, MinVersion: tls.VersionTLS13,
		RootCAs: l.authorities, ServerName: CentreName,
	}
}
