package rules

import (
	"fmt"
	"io"
)

// Person is a person's pseudonym. The zero Person is nobody. Every fmt verb
// hides it.
type Person [16]byte

// Format hides the pseudonym, whatever the verb.
func (p Person) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "person:hidden") }

// MarshalText hides the pseudonym from JSON and structured logs.
func (Person) MarshalText() ([]byte, error) { return []byte("person:hidden"), nil }
