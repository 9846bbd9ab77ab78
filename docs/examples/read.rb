# Prints a user's recommendations: ruby read.rb USER [N]
require "json"
require "redis"

# The gem's own parser does not always support ?db=, and may read a database's name as 0.
def connect(url)
  uri = URI(url)
  abort "The Redis URL has to start with redis://, rediss:// or unix://." unless
    %w[redis rediss unix].include?(uri.scheme)
  unix = uri.scheme == "unix"
  user, password, path = [uri.user, uri.password, uri.path].map { |part| URI::DEFAULT_PARSER.unescape(part || "") }
  database = URI.decode_www_form(uri.query || "").to_h["db"] || (unix ? "" : path.delete_prefix("/"))
  place = unix ? { path: path } : { host: uri.hostname, port: uri.port || 6379, ssl: uri.scheme == "rediss" }
  secret = { username: user, password: password }.reject { |_, part| part.empty? }
  Redis.new(**place, **secret, db: database.empty? ? 0 : Integer(database, 10))
end

user, n = ARGV
prefix = ENV.fetch("RECKONER_PREFIX", "reckoner")
redis = connect(ENV.fetch("RECKONER_REDIS_URL", "redis://localhost:6379"))

generation = redis.get("#{prefix}:generation") or abort "No model was fitted yet."
names = ["record:#{generation}", "rec:#{generation}:#{user}", "left:#{user}"]
*values, left = redis.mget(*names.map { |name| "#{prefix}:#{name}" })
record, result = values.map { |value| value && JSON.parse(value) }
own = result && result["format"] == 2 ? result["items"] : []
popular = record["popular"].map { |item| [item] }

# What the user has just had, and what is hidden from everybody until some time, is left out.
left = JSON.parse("[#{left.to_s.delete_suffix(",\n")}]")
items = (own + popular).map(&:first)
hidden = items.zip(redis.zmscore("#{prefix}:hidden", *items)).to_h.select { |_, ms| ms && ms > Time.now.to_f * 1000 }
own, popular = [own, popular].map { |some| some.reject { |item,| left.include?(item) || hidden.key?(item) } }
places = (own.any? ? own : popular).first((n || 10).to_i)

ids = places.flat_map { |item, _, because| [item, because].compact }
titles = ids.empty? ? {} : ids.zip(redis.hmget("#{prefix}:titles:#{record["snapshot"]}", *ids)).to_h
places.each.with_index(1) do |(item, score, because), rank|
  line = [rank, titles[item] || item]
  line.push(format("%.4f", score), titles[because] || because) if because
  puts line.join("\t")
end
