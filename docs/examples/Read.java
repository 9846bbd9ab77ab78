// Prints a user's recommendations: java -cp "JARS" Read.java USER [N], with the jars of Jedis and Jackson.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import redis.clients.jedis.RedisClient;

public class Read {
    private static final String PREFIX = System.getenv().getOrDefault("RECKONER_PREFIX", "reckoner");

    private record Place(String item, Double score, String because) {}

    public static void main(String[] arguments) throws Exception {
        String user = arguments[0];
        int n = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 10;
        Map<String, String> environment = System.getenv();
        String url = environment.getOrDefault("RECKONER_REDIS_URL", "redis://localhost:6379");
        try (RedisClient redis = RedisClient.create(forJedis(url))) {
            print(redis, user, n);
        }
    }

    /** The URL for Jedis, which supports neither ?db= nor Unix sockets and requires a port. */
    private static String forJedis(String url) {
        URI given = URI.create(url);
        if (given.getHost() == null || !given.getScheme().startsWith("redis")) {
            throw new IllegalArgumentException("Jedis supports only redis:// and rediss:// URLs.");
        }
        String user = given.getRawUserInfo() == null ? "" : given.getRawUserInfo() + "@";
        int port = given.getPort() < 0 ? 6379 : given.getPort();
        Stream<String> options = Stream.of(Objects.requireNonNullElse(given.getRawQuery(), "").split("&"));
        String path = options.filter(option -> option.startsWith("db=")).findFirst()
            .map(option -> "/" + option.substring(3)).orElse(given.getRawPath());
        return given.getScheme() + "://" + user + given.getHost() + ":" + port + path;
    }

    /** Those of some items that are hidden from everybody: each until a time in milliseconds. */
    private static Set<String> hidden(RedisClient redis, List<String> items) {
        List<Double> until = redis.zmscore(PREFIX + ":hidden", items.toArray(String[]::new));
        Set<String> hidden = new HashSet<>();
        for (int i = 0; i < items.size(); i++) {
            if (until.get(i) != null && until.get(i) > System.currentTimeMillis()) {
                hidden.add(items.get(i));
            }
        }
        return hidden;
    }

    private static void print(RedisClient redis, String user, int n) throws Exception {
        String generation = redis.get(PREFIX + ":generation");
        if (generation == null) {
            throw new IllegalStateException("No model was fitted yet.");
        }
        List<String> values = redis.mget(
            PREFIX + ":record:" + generation, PREFIX + ":rec:" + generation + ":" + user, PREFIX + ":left:" + user);
        ObjectMapper json = new ObjectMapper();
        JsonNode record = json.readTree(values.get(0));
        JsonNode result = json.readTree(Objects.requireNonNullElse(values.get(1), "{}"));
        List<Place> places = new ArrayList<>();
        if (result.path("format").asInt() == 2) {
            for (JsonNode place : result.get("items")) {
                places.add(new Place(place.get(0).asText(), place.get(1).asDouble(), place.get(2).asText()));
            }
        }
        List<Place> popular = new ArrayList<>();
        for (JsonNode item : record.get("popular")) {
            popular.add(new Place(item.asText(), null, null));
        }

        // What the user has just had, and what is hidden from everybody until some time, is left out.
        Set<String> leftOut = hidden(redis, Stream.concat(places.stream(), popular.stream()).map(Place::item).toList());
        String left = Objects.requireNonNullElse(values.get(2), ",\n");
        for (JsonNode item : json.readTree("[" + left.substring(0, left.length() - 2) + "]")) {
            leftOut.add(item.asText());
        }
        places.removeIf(place -> leftOut.contains(place.item()));
        popular.removeIf(place -> leftOut.contains(place.item()));
        places = places.isEmpty() ? popular : places;
        places = places.subList(0, Math.min(n, places.size()));
        if (places.isEmpty()) {
            return;
        }

        List<String> ids = new ArrayList<>();
        for (Place place : places) {
            ids.addAll(List.of(place.item(), place.because() == null ? place.item() : place.because()));
        }
        List<String> titles =
            redis.hmget(PREFIX + ":titles:" + record.get("snapshot").asText(), ids.toArray(String[]::new));
        for (int i = 0; i < places.size(); i++) {
            Place place = places.get(i);
            String line = (i + 1) + "\t" + Objects.requireNonNullElse(titles.get(2 * i), place.item());
            if (place.because() != null) {
                line += String.format(Locale.ROOT, "\t%.4f\t", place.score());
                line += Objects.requireNonNullElse(titles.get(2 * i + 1), place.because());
            }
            System.out.println(line);
        }
    }
}
