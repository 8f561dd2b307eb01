// Package schema validates messages against the JSON Schemas of the contract. It is for readers of the topics and for
// tests; the agent does not link it.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"bordo/contract"
)

// schemaOf maps a kind of message to its schema. Commands are signed, and allow-lists are for the box alone: they are
// not validated here.
var schemaOf = map[string]string{
	contract.KindTele: "batch", contract.KindHist: "batch", contract.KindHistz: "batch", contract.KindEvent: "event",
	contract.KindRes:    "event",
	contract.KindStatus: "status", contract.KindMeta: "meta", contract.KindAck: "ack",
}

// Set is the JSON Schemas of the contract by name. It may be used from many goroutines.
type Set map[string]*jsonschema.Schema

// Load compiles them. It fails only when a schema itself is broken.
func Load() (Set, error) {
	names, err := fs.Glob(contract.Schemas, "schema/*.schema.json")
	if err != nil {
		return nil, fmt.Errorf("load schemas: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out, ids := Set{}, map[string]string{}
	for _, name := range names {
		b, err := contract.Schemas.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("load schemas: %w", err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("load schema %s: %w", name, err)
		}
		object, _ := doc.(map[string]any)
		ids[name], _ = object["$id"].(string)
		if err := c.AddResource(ids[name], doc); err != nil {
			return nil, fmt.Errorf("load schema %s: %w", name, err)
		}
	}
	for name, id := range ids {
		s, err := c.Compile(id)
		if err != nil {
			return nil, fmt.Errorf("load schema %s: %w", name, err)
		}
		out[strings.TrimSuffix(path.Base(name), ".schema.json")] = s
	}
	return out, nil
}

// Violation returns where and how a message of a kind (as in its topic, packed where the kind is) violates its schema.
// It returns "" where it does not, or where there is no schema.
func (s Set) Violation(kind string, payload []byte) string {
	schema := s[schemaOf[kind]]
	if schema == nil || kind == contract.KindMeta && len(payload) == 0 {
		return ""
	}
	if kind == contract.KindHistz {
		var err error
		if payload, err = contract.UnpackBatch(payload); err != nil {
			return err.Error()
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return "it is no JSON: " + err.Error()
	}
	invalid := (*jsonschema.ValidationError)(nil)
	if err := schema.Validate(doc); !errors.As(err, &invalid) {
		return ""
	}
	return leaves(invalid)
}

// placesMost is the maximum number of places that a violation names.
const placesMost = 3

// leaves returns the places of a message that are wrong, and why. Only the leaves of a ValidationError keep their place
// reliably: jsonschema 6.0.3 shares the place of a group with later ones.
func leaves(e *jsonschema.ValidationError) string {
	var places []string
	more := 0
	for _, leaf := range causes(e) {
		text := strings.TrimPrefix(leaf.Error(), "at ")
		text = strings.TrimPrefix(text, "'': ") // of the whole message, or of a key, which the text names
		if len(places) < placesMost {
			places = append(places, text)
		} else {
			more++
		}
	}
	text := strings.Join(places, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func causes(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, c := range e.Causes {
		out = append(out, causes(c)...)
	}
	return out
}
