# Prints a user's recommendations: ruby read.rb USER [N]
require "json"
require "redis"

user, n = ARGV
prefix = ENV.fetch("RECKONER_PREFIX", "reckoner")
redis = Redis.new(url: ENV.fetch("RECKONER_REDIS_URL", "redis://localhost:6379"))

generation = redis.get("#{prefix}:generation") or abort "No model was fitted yet."
values = redis.mget("#{prefix}:record:#{generation}", "#{prefix}:rec:#{generation}:#{user}")
record, result = values.map { |value| value && JSON.parse(value) }
own = result ? result["items"] : []
places = (own.any? ? own : record["popular"].map { |item| { "item" => item } }).first((n || 10).to_i)

ids = places.flat_map { |place| place.values_at("item", "because").compact }
titles = ids.zip(redis.hmget("#{prefix}:titles:#{record["snapshot"]}", *ids)).to_h
places.each.with_index(1) do |place, rank|
  item, score, because = place.values_at("item", "score", "because")
  line = [rank, titles[item] || item]
  line.push(format("%.4f", score), titles[because] || because) if because
  puts line.join("\t")
end
