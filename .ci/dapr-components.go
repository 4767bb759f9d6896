//go:build ignore

// Writes every component type that daprd has, with its versions, and the metadata names that the
// usual ones read. Run by .ci/dapr-components inside Dapr's own module; its argument is the folder of
// components-contrib.
package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/dapr/components-contrib/common/authentication/azure"
	awsauth "github.com/dapr/components-contrib/common/aws/auth"
	contrib "github.com/dapr/components-contrib/metadata"
	_ "github.com/dapr/dapr/cmd/daprd/components"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/configuration"
	"github.com/dapr/dapr/pkg/components/conversation"
	"github.com/dapr/dapr/pkg/components/crypto"
	"github.com/dapr/dapr/pkg/components/lock"
	middleware "github.com/dapr/dapr/pkg/components/middleware/http"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/kit/logger"
	"sigs.k8s.io/yaml"
)

// What is read beside the documented and the structs' names.
var hidden = map[string][]string{
	"pubsub.kafka": {
		"authRequired", "backOffPolicy", "backOffDuration", "backOffInitialInterval",
		"backOffMultiplier", "backOffRandomizationFactor", "backOffMaxInterval",
		"backOffMaxElapsedTime", "backOffMaxRetries",
	},
	"bindings.kafka":          {"authRequired", "topics", "publishTopic"},
	"secretstores.kubernetes": {"defaultNamespace", "kubeconfigPath"},
}

// The types whose names are worth their place; of the others only that they are there.
var usual = []string{
	"pubsub.", "secretstores.", "state.aws.", "state.azure.", "state.cassandra", "state.cockroachdb",
	"state.etcd", "state.gcp.", "state.in-memory", "state.jetstream", "state.memcached",
	"state.mongodb", "state.mysql", "state.postgres", "state.redis", "state.sqlite",
	"state.sqlserver", "bindings.aws.", "bindings.azure.blobstorage", "bindings.azure.eventgrid",
	"bindings.azure.eventhubs", "bindings.azure.servicebusqueues", "bindings.azure.storagequeues",
	"bindings.cron", "bindings.gcp.", "bindings.graphql", "bindings.http", "bindings.kafka",
	"bindings.kubernetes", "bindings.localstorage", "bindings.mqtt", "bindings.mysql",
	"bindings.postgres", "bindings.postmark", "bindings.rabbitmq", "bindings.redis", "bindings.sftp",
	"bindings.smtp", "bindings.twilio.",
}

type names map[string]bool

// By type and version.
var found = map[[2]string]names{}

// What a component must have, whichever way it signs in, as it is documented.
var required = map[[2]string]names{}

// Other names for a name, or what does instead of it.
var others = map[string][]string{
	"authType": {"authRequired"}, "connectionString": {"host", "hostaddr"},
}

// The types that do not work without what their description requires, as their sources say; those of
// others require more than is so.
var strict = []string{
	"pubsub.kafka", "pubsub.mqtt3", "pubsub.pulsar", "pubsub.redis", "pubsub.solace.amqp",
	"secretstores.local.file", "state.memcached", "state.mysql", "state.postgres",
	"state.postgresql", "state.redis", "state.sqlite", "state.sqlserver", "bindings.cron",
	"bindings.postgres", "bindings.postgresql",
}

type described interface{ GetComponentMetadata() contrib.MetadataMap }

type create func(name, version string) (any, error)

func main() {
	log := logger.NewLogger("names")
	bindings.DefaultRegistry.Logger, pubsub.DefaultRegistry.Logger = log, log
	secretstores.DefaultRegistry.Logger, state.DefaultRegistry.Logger = log, log
	none := func(string, string) (any, error) { return nil, nil }
	registered(bindings.DefaultRegistry, func(n, v string) (any, error) {
		return bindings.DefaultRegistry.CreateInputBinding(n, v, "")
	})
	registered(bindings.DefaultRegistry, func(n, v string) (any, error) {
		return bindings.DefaultRegistry.CreateOutputBinding(n, v, "")
	})
	registered(pubsub.DefaultRegistry, func(n, v string) (any, error) { return pubsub.DefaultRegistry.Create(n, v, "") })
	registered(secretstores.DefaultRegistry, func(n, v string) (any, error) { return secretstores.DefaultRegistry.Create(n, v, "") })
	registered(state.DefaultRegistry, func(n, v string) (any, error) { return state.DefaultRegistry.Create(n, v, "") })
	for _, registry := range []any{
		configuration.DefaultRegistry, conversation.DefaultRegistry, crypto.DefaultRegistry,
		lock.DefaultRegistry, middleware.DefaultRegistry,
	} {
		registered(registry, none)
	}
	documented(os.Args[1])
	aliases(os.Args[1])
	write()
}

// Asks every component that is registered, and its struct, for its names.
func registered(registry any, create create) {
	value := reflect.ValueOf(registry).Elem()
	for i := range value.NumField() {
		field := value.Field(i)
		if field.Kind() != reflect.Map || field.Type().Elem().Kind() != reflect.Func {
			continue
		}
		for _, key := range field.MapKeys() {
			name, version, versioned := strings.Cut(key.String(), "/")
			if !versioned {
				version = "v1"
			}
			own := add(name, version)
			for _, name := range hidden[name] {
				own[name] = true
			}
			describe(own, name, version, create)
		}
	}
}

func add(name, version string) names {
	key := [2]string{name, version}
	if found[key] == nil {
		found[key] = names{}
	}
	return found[key]
}

func describe(own names, name, version string, create create) {
	defer func() {
		if reason := recover(); reason != nil {
			fmt.Fprintln(os.Stderr, name, version, "panics:", reason)
		}
	}()
	component, err := create(name, version)
	if err != nil {
		return // Of a binding, the other direction.
	}
	if component, ok := component.(described); ok {
		for name, field := range component.GetComponentMetadata() {
			own[name] = true
			for _, alias := range field.Aliases {
				own[alias] = true
				others[name] = append(others[name], alias)
			}
		}
	}
}

type item struct {
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Default  any    `json:"default"`
}

type profile struct {
	Name     string `json:"name"`
	Metadata []item `json:"metadata"`
}

// Adds what the metadata.yaml of each component documents.
func documented(folder string) {
	_ = filepath.WalkDir(folder, func(path string, _ os.DirEntry, _ error) error {
		if filepath.Base(path) != "metadata.yaml" {
			return nil
		}
		var doc struct {
			Type     string    `json:"type"`
			Name     string    `json:"name"`
			Version  string    `json:"version"`
			Metadata []item    `json:"metadata"`
			Profiles []profile `json:"authenticationProfiles"`
			Builtin  []profile `json:"builtinAuthenticationProfiles"`
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(text, &doc)
		}
		key := [2]string{strings.ToLower(doc.Type + "." + doc.Name), doc.Version}
		own, ok := found[key]
		if err != nil || !ok {
			fmt.Fprintln(os.Stderr, path, "is not used:", err)
			return nil
		}
		required[key] = demanded(doc.Metadata, slices.Concat(doc.Profiles, doc.Builtin))
		items := doc.Metadata
		for _, profile := range slices.Concat(doc.Profiles, doc.Builtin) {
			items = append(items, profile.Metadata...)
		}
		for _, item := range items {
			own[item.Name] = true
		}
		for _, profile := range doc.Builtin {
			builtin(own, profile.Name)
		}
		return nil
	})
}

// Required by itself, or by every way to sign in. What has a default is there.
func demanded(items []item, profiles []profile) names {
	of := func(items []item) names {
		own := names{}
		for _, item := range items {
			if item.Required && item.Default == nil {
				own[item.Name] = true
			}
		}
		return own
	}
	own := of(items)
	if len(profiles) == 0 {
		return own
	}
	for name := range of(profiles[0].Metadata) {
		lacks := func(one profile) bool { return !of(one.Metadata)[name] }
		if !slices.ContainsFunc(profiles, lacks) {
			own[name] = true
		}
	}
	return own
}

// What signs in to a cloud, the same for all of its components.
func builtin(own names, profile string) {
	switch {
	case strings.HasPrefix(profile, "aws"):
		options := reflect.TypeOf(awsauth.Options{})
		for i := range options.NumField() {
			if name := options.Field(i).Tag.Get("mapstructure"); name != "" {
				own[name] = true
			}
		}
		own["sessionName"] = true
	case strings.HasPrefix(profile, "azure"):
		for of, keys := range azure.MetadataKeys {
			if strings.HasPrefix(of, "Storage") {
				continue
			}
			for _, key := range keys {
				own[key] = true
			}
		}
	}
}

var alias = regexp.MustCompile(`mapstructure:"(\w+)" mapstructurealiases:"([^"]+)"`)

// Other names for a name, and the other types of a component: `postgres` and `postgresql`.
func aliases(folder string) {
	_ = filepath.WalkDir(folder, func(path string, _ os.DirEntry, _ error) error {
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, _ := os.ReadFile(path)
		for _, match := range alias.FindAllStringSubmatch(string(text), -1) {
			others[match[1]] = append(others[match[1]], strings.Split(match[2], ",")...)
			for _, own := range found {
				if own[match[1]] {
					for _, name := range strings.Split(match[2], ",") {
						own[name] = true
					}
				}
			}
		}
		return nil
	})
	for _, pair := range [][2]string{
		{"state.postgres", "state.postgresql"}, {"bindings.postgres", "bindings.postgresql"},
		{"pubsub.snssqs", "pubsub.aws.snssqs"}, {"pubsub.mqtt", "pubsub.mqtt3"},
		{"bindings.mqtt", "bindings.mqtt3"}, {"pubsub.azure.servicebus", "pubsub.azure.servicebus.topics"},
		{"pubsub.azure.servicebusqueues", "pubsub.azure.servicebus.queues"},
	} {
		for key, own := range found {
			if other, ok := found[[2]string{pair[1], key[1]}]; ok && key[0] == pair[0] {
				for name := range other {
					own[name] = true
				}
				for name := range own {
					other[name] = true
				}
				twin := [2]string{pair[1], key[1]}
				all := names{}
				maps.Copy(all, required[key])
				maps.Copy(all, required[twin])
				required[key], required[twin] = all, all
			}
		}
	}
}

func write() {
	var lines []string
	for key, own := range found {
		var list []string
		is := func(prefix string) bool { return strings.HasPrefix(key[0], prefix) }
		if slices.ContainsFunc(usual, is) {
			for name := range own {
				if name != "" && !strings.ContainsAny(name, " \t") {
					list = append(list, name)
				}
			}
		}
		// Dapr reads names in any case; of several the one that begins small is the usual.
		slices.SortFunc(list, func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(b, a))
		})
		list = slices.CompactFunc(list, strings.EqualFold)
		var must []string
		if slices.Contains(strict, key[0]) {
			for name := range required[key] {
				all := append([]string{name}, others[name]...)
				slices.Sort(all[1:])
				must = append(must, strings.Join(slices.Compact(all), "|"))
			}
			slices.Sort(must)
		}
		columns := []string{key[0], key[1], strings.Join(list, " "), strings.Join(must, " ")}
		lines = append(lines, strings.Join(columns, "\t"))
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(strings.TrimRight(line, "\t"))
	}
}
