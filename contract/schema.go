package contract

import "embed"

// Schemas holds the JSON Schemas (draft 2020-12) under schema/: batch, event, events (the data of each type;
// generated), status, meta, command, ack. Each allows unknown keys.
//
//go:embed schema/*.json
var Schemas embed.FS
