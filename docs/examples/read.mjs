// Prints a user's recommendations: node read.mjs USER [N]
import { createClient } from "redis";

const [user, n = "10"] = process.argv.slice(2);
const prefix = process.env.RECKONER_PREFIX ?? "reckoner";

const options = parse(process.env.RECKONER_REDIS_URL ?? "redis://localhost:6379");
const redis = await createClient(options).on("error", (error) => { throw error; }).connect();
const generation = await redis.get(`${prefix}:generation`);
if (generation === null) throw new Error("No model was fitted yet.");

const values = await redis.mGet([`${prefix}:record:${generation}`, `${prefix}:rec:${generation}:${user}`]);
const [record, result] = values.map((value) => value && JSON.parse(value));
const own = result?.format === 2 ? result.items : [];
const places = (own.length > 0 ? own : record.popular.map((item) => [item])).slice(0, Number(n));

const ids = places.flatMap(([item, , because]) => [item, because ?? item]);
const titles = await redis.hmGet(`${prefix}:titles:${record.snapshot}`, ids);
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
