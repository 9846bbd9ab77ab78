// Prints a user's recommendations: node read.mjs USER [N]
import { createClient } from "redis";

const [user, n = "10"] = process.argv.slice(2);
const prefix = process.env.RECKONER_PREFIX ?? "reckoner";

const options = parse(process.env.RECKONER_REDIS_URL ?? "redis://localhost:6379");
const redis = await createClient(options).on("error", (error) => { throw error; }).connect();
const generation = await redis.get(`${prefix}:generation`);
if (generation === null) throw new Error("No model was fitted yet.");

const keys = [`record:${generation}`, `rec:${generation}:${user}`, `left:${user}`].map((name) => `${prefix}:${name}`);
const values = await redis.mGet(keys);
const [record, result] = values.map((value, i) => value && i < 2 && JSON.parse(value));
const own = result?.format === 2 ? result.items : [];
const popular = record.popular.map((item) => [item]);

// What the user has just had, and what is hidden from everybody until some time, is left out.
const left = new Set(JSON.parse(`[${(values[2] ?? "").slice(0, -2)}]`));
const items = [...own, ...popular].map(([item]) => item);
const until = await redis.zmScore(`${prefix}:hidden`, items);
const shown = new Set(items.filter((item, i) => !left.has(item) && !(until[i] > Date.now())));
const [mine, others] = [own, popular].map((some) => some.filter(([item]) => shown.has(item)));
const places = (mine.length > 0 ? mine : others).slice(0, Number(n));

const ids = places.flatMap(([item, , because]) => [item, because ?? item]);
const titles = ids.length > 0 ? await redis.hmGet(`${prefix}:titles:${record.snapshot}`, ids) : [];
places.forEach(([item, score, because], i) => {
  const line = [i + 1, titles[2 * i] ?? item];
  if (because !== undefined) line.push(score.toFixed(4), titles[2 * i + 1] ?? because);
  console.log(line.join("\t"));
});
await redis.close();

// createClient's own parser does not support ?db=, unix:// and IPv6 addresses.
function parse(url) {
  const unix = url.startsWith("unix://");
  // URL requires a host if there is a user.
  const parts = new URL(unix ? url.replace(/^unix:\/\/([^/]*@)?/, "unix://$1localhost") : url);
  const tls = parts.protocol === "rediss:";
  const database = Number(parts.searchParams.get("db") ?? (unix ? 0 : parts.pathname.slice(1)));
  if (!(unix || tls || parts.protocol === "redis:") || !Number.isInteger(database)) {
    throw new Error("The Redis URL is not supported.");
  }
  const place = { host: parts.hostname.replace(/^\[|\]$/g, ""), port: Number(parts.port || 6379), tls };
  return {
    socket: unix ? { path: decodeURIComponent(parts.pathname) } : place,
    username: decodeURIComponent(parts.username) || undefined,
    password: decodeURIComponent(parts.password) || undefined,
    database,
  };
}
