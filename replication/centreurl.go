package replication

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

const (
	// leafScheme is the scheme of BoxConfig.CentreURL.
	leafScheme = "nats-leaf"
	// leafPort is the port of an address that names none.
	leafPort = "7422"
	// MaxCentreURLs bounds the addresses of a centre.
	MaxCentreURLs = 9
)

// CentreAddresses returns the host:port of each address in a BoxConfig.CentreURL.
// The error reports every one that is wrong and never shows a secret.
func CentreAddresses(text string) ([]string, error) {
	urls, err := parseCentreURLs(text)
	var addresses []string
	for _, u := range urls {
		addresses = append(addresses, u.Host)
	}
	return addresses, err
}

// parseCentreURLs reads one address or several with commas between them.
func parseCentreURLs(text string) ([]*url.URL, error) {
	var urls []*url.URL
	var faults []error
	seen := map[string]bool{}
	for one := range strings.SplitSeq(text, ",") {
		u, err := parseCentreURL(strings.TrimSpace(one))
		if err == nil && seen[u.Host] {
			err = fmt.Errorf("the centre's address %s stands there twice; leave one out", u.Host)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		seen[u.Host] = true
		urls = append(urls, u)
	}
	if len(urls) > MaxCentreURLs {
		faults = append(faults, fmt.Errorf("the centre has %d addresses, at most %d", len(urls), MaxCentreURLs))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return urls, nil
}

func parseCentreURL(text string) (*url.URL, error) {
	const next = "give nats-leaf://host:port, or several with commas between them"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The text may hold a secret where it is malformed, so it stays out.
		return nil, errors.New("the centre's URL cannot be read; " + next)
	case u.User != nil:
		return nil, errors.New("the centre's URL must not hold a user or password; " + next)
	case u.Scheme != leafScheme, u.Hostname() == "", u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("the centre's URL %q is not of the form %s://host:port; %s", u.Redacted(), leafScheme, next)
	case u.Port() == "":
		u.Host = net.JoinHostPort(u.Hostname(), leafPort)
	}
	return u, nil
}
