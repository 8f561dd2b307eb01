//go:build e2e

package main_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"bordo/contract"
)

// schemas are the JSON Schemas of the contract by name.
type schemas map[string]*jsonschema.Schema

// schemaOf tells which schema the messages of a topic follow.
var schemaOf = map[string]string{
	contract.KindTele: "batch", contract.KindHist: "batch", contract.KindEvent: "event", contract.KindRes: "event",
	contract.KindStatus: "status", contract.KindMeta: "meta",
}

func loadSchemas(t *testing.T) schemas {
	t.Helper()
	names, err := fs.Glob(contract.Schemas, "schema/*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out, ids := schemas{}, map[string]string{}
	for _, name := range names {
		b, err := contract.Schemas.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		ids[name], _ = doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(ids[name], doc); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		s, err := c.Compile(ids[name])
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(path.Base(name), ".schema.json")] = s
	}
	return out
}

// check holds a message against the schema of its topic.
func (s schemas) check(kind string, payload []byte) error {
	schema := s[schemaOf[kind]]
	if schema == nil {
		return fmt.Errorf("no schema for %s", kind)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
