// Prints a user's recommendations: go run read.go USER [N]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

type place struct {
	Item    string
	Score   float64
	Because *string
}

// UnmarshalJSON reads [item, score, because], and ignores further elements.
func (p *place) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[3]any{&p.Item, &p.Score, &p.Because})
}

type record struct {
	Snapshot string
	Popular  []string
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: go run read.go USER [N]")
	}
	n := 10
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if err := printPlaces(context.Background(), os.Args[1], n); err != nil {
		log.Fatal(err)
	}
}

func printPlaces(ctx context.Context, user string, n int) error {
	prefix := setting("RECKONER_PREFIX", "reckoner")
	options, err := redis.ParseURL(setting("RECKONER_REDIS_URL", "redis://localhost:6379"))
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()

	generation, err := client.Get(ctx, prefix+":generation").Result()
	if errors.Is(err, redis.Nil) {
		return errors.New("no model was fitted yet")
	} else if err != nil {
		return err
	}
	values, err := client.MGet(
		ctx, prefix+":record:"+generation, prefix+":rec:"+generation+":"+user, prefix+":left:"+user).Result()
	if err != nil {
		return err
	}
	var made record
	var result struct {
		Format int
		Items  json.RawMessage
	}
	for i, into := range []any{&made, &result} {
		if text, ok := values[i].(string); ok {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return err
			}
		}
	}
	var places []place
	if result.Format == 2 {
		if err := json.Unmarshal(result.Items, &places); err != nil {
			return err
		}
	}
	var popular []place
	for _, item := range made.Popular {
		popular = append(popular, place{Item: item})
	}
	var left []string
	if text, ok := values[2].(string); ok {
		if err := json.Unmarshal([]byte("["+strings.TrimSuffix(text, ",\n")+"]"), &left); err != nil {
			return err
		}
	}
	leftOut := map[string]bool{}
	for _, item := range left {
		leftOut[item] = true
	}
	if err := addHidden(ctx, client, prefix+":hidden", append(places, popular...), leftOut); err != nil {
		return err
	}
	places = without(leftOut, places)
	if len(places) == 0 {
		places = without(leftOut, popular)
	}
	if len(places) == 0 {
		return nil
	}
	if len(places) > n {
		places = places[:n]
	}

	var ids []string
	for _, p := range places {
		ids = append(ids, p.Item)
		if p.Because != nil {
			ids = append(ids, *p.Because)
		}
	}
	found, err := client.HMGet(ctx, prefix+":titles:"+made.Snapshot, ids...).Result()
	if err != nil {
		return err
	}
	titles := map[string]string{}
	for i, id := range ids {
		titles[id] = id
		if title, ok := found[i].(string); ok {
			titles[id] = title
		}
	}
	for i, p := range places {
		fmt.Printf("%d\t%s", i+1, titles[p.Item])
		if p.Because != nil {
			fmt.Printf("\t%.4f\t%s", p.Score, titles[*p.Because])
		}
		fmt.Println()
	}
	return nil
}

// addHidden adds the items that are hidden from everybody: each until a time in milliseconds.
func addHidden(
	ctx context.Context, client *redis.Client, key string, places []place, leftOut map[string]bool) error {
	var items []string
	for _, p := range places {
		items = append(items, p.Item)
	}
	until, err := client.ZMScore(ctx, key, items...).Result()
	for i, ms := range until {
		if ms > float64(time.Now().UnixMilli()) {
			leftOut[items[i]] = true
		}
	}
	return err
}

// without returns the places whose items are not left out.
func without(leftOut map[string]bool, places []place) []place {
	var shown []place
	for _, p := range places {
		if !leftOut[p.Item] {
			shown = append(shown, p)
		}
	}
	return shown
}

func setting(name, usual string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return usual
}
