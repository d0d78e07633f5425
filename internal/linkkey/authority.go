package linkkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"regexp"
	"time"

	"github.com/nats-io/nkeys"

	"gateline/gateway"
)

// Certificates begin before any clock and do not end (RFC 5280, 4.1.2.5): a box
// whose clock has lost its battery must reach the centre, and none may go dark
// on some day. Who is let in is said by the list of stations, at any hour.
var (
	notBefore = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// Authority signs the certificates of a city's centre and boxes.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes an authority.
func NewAuthority() (*Authority, error) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "gateline link"}, NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return sign(template, template, public, key)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) (*Authority, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate just signed: %w", err)
	}
	return &Authority{certificate, by}, nil
}

// ReadAuthority reads the file of an authority: its certificate and its private
// key as PEM, as NewAuthority makes them or an operator's own.
func ReadAuthority(path string) (*Authority, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authority: %w: gateline link-key init makes it", err)
	}
	a := &Authority{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case blockCertificate:
			a.certificate, err = x509.ParseCertificate(block.Bytes)
		case blockKey:
			var key any
			if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				a.key, _ = key.(crypto.Signer)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("authority %s: its %s cannot be read; put the file back from its backup", path, block.Type)
		}
	}
	if a.certificate == nil || a.key == nil || !a.certificate.IsCA || !samePublic(a.key, a.certificate) {
		return nil, fmt.Errorf("authority %s: it lacks a certificate that may sign others, or the private key that belongs to it; put the file back from its backup", path)
	}
	return a, nil
}

func samePublic(key crypto.Signer, c *x509.Certificate) bool {
	public, comparable := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return comparable && public.Equal(c.PublicKey)
}

// PEM returns the authority's file, a secret.
func (a *Authority) PEM() ([]byte, error) { return encode(a.certificate.Raw, a.key) }

func encode(certificate []byte, key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("a private key cannot be written") // the cause may quote it
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: blockCertificate, Bytes: certificate})
	_ = pem.Encode(&b, &pem.Block{Type: blockKey, Bytes: der})
	return b.Bytes(), nil
}

// Centre returns a new link file of the centre.
func (a *Authority) Centre() ([]byte, error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: CentreName}, DNSNames: []string{CentreName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Station returns a new link file of a station and the public part of its nkey.
func (a *Authority) Station(name string) (file []byte, public string, err error) {
	if err := gateway.ValidStation(name); err != nil {
		return nil, "", err
	}
	file, err = a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, "", err
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", fmt.Errorf("make the key of station %s: %w", name, err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err != nil {
		return nil, "", fmt.Errorf("make the key of station %s: %w", name, err)
	}
	return append(file, pem.EncodeToMemory(&pem.Block{Type: blockSeed, Bytes: seed})...), public, nil
}

// issue signs template for a new key.
func (a *Authority) issue(template *x509.Certificate) ([]byte, error) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template.NotBefore, template.NotAfter, template.KeyUsage = notBefore, notAfter, x509.KeyUsageDigitalSignature
	signed, err := sign(template, a.certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	file, err := encode(signed.certificate.Raw, key)
	if err != nil {
		return nil, err
	}
	return append(file, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: a.certificate.Raw})...), nil
}

// Server returns a new link file of one of the operator's own servers, which others
// of the kind reach as host: the centre's name is in it too, so boxes and clients
// know the server by that.
func (a *Authority) Server(host string) ([]byte, error) {
	if !validHost(host) {
		return nil, fmt.Errorf("%.80q is not the DNS name of a server: give it as it stands in the servers' routes, for instance a.centre.example", host)
	}
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{CentreName, host},
		// A server also opens connections, to the others.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// Client is Station for a client of the centre.
func (a *Authority) Client(name string) (file []byte, public string, err error) {
	return a.Station(name)
}

var hostForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func validHost(host string) bool {
	return len(host) <= 253 && host != CentreName && hostForm.MatchString(host) && net.ParseIP(host) == nil
}
