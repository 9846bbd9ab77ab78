// Prints a user's recommendations: node read.mjs USER [N]
import { createClient } from "redis";

const [user, n = "10"] = process.argv.slice(2);
const url = process.env.RECKONER_REDIS_URL ?? "redis://localhost:6379";
const prefix = process.env.RECKONER_PREFIX ?? "reckoner";

const redis = await createClient({ url }).on("error", (error) => { throw error; }).connect();
const generation = await redis.get(`${prefix}:generation`);
if (generation === null) throw new Error("No model was fitted yet.");

const values = await redis.mGet([`${prefix}:record:${generation}`, `${prefix}:rec:${generation}:${user}`]);
const [record, result] = values.map((value) => value && JSON.parse(value));
const own = result?.items ?? [];
const places = (own.length > 0 ? own : record.popular.map((item) => ({ item }))).slice(0, Number(n));

const ids = places.flatMap(({ item, because }) => [item, because ?? item]);
const titles = await redis.hmGet(`${prefix}:titles:${record.snapshot}`, ids);
places.forEach(({ item, score, because }, i) => {
  const line = [i + 1, titles[2 * i] ?? item];
  if (because !== undefined) line.push(score.toFixed(4), titles[2 * i + 1] ?? because);
  console.log(line.join("\t"));
});
await redis.close();
