// Writes go-templates.json anew: what Go's text/template makes of each "template" there, with DATA as the dot and ollama's option.
//
//	go run go-templates.go    (made with Go 1.26)
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type row struct {
	Template string  `json:"template"`
	Rendered *string `json:"rendered,omitempty"`
	Error    string  `json:"error,omitempty"`
}

func main() {
	const file = "go-templates.json"
	data := map[string]any{
		"A": false, "B": true, "S": "str", "U": "你好", "Z": "",
		"L": []string{"a", "b", "c"}, "E": []string{},
		"M": map[string]any{"k": "v", "n": map[string]any{"o": "p"}},
	}
	var rows []row
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &rows)
	}
	for i := range rows {
		rows[i].Rendered, rows[i].Error = nil, ""
		var out strings.Builder
		t, problem := template.New("").Option("missingkey=zero").Parse(rows[i].Template)
		if problem == nil {
			problem = t.Execute(&out, data)
		}
		if problem != nil {
			rows[i].Error = problem.Error()
			continue
		}
		rendered := out.String()
		rows[i].Rendered = &rendered
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err == nil {
		err = encoder.Encode(rows)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(out.String()), 0o644)
	}
	if err != nil {
		panic(err)
	}
}
