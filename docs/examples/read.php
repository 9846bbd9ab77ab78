<?php
// Prints a user's recommendations: php read.php USER [N]
[, $user, $n] = $argv + [2 => 10];
$prefix = getenv('RECKONER_PREFIX') ?: 'reckoner';

$redis = connect(getenv('RECKONER_REDIS_URL') ?: 'redis://localhost:6379');
$generation = $redis->get("$prefix:generation");
if ($generation === false) {
    fail('No model was fitted yet.');
}

$names = ["$prefix:record:$generation", "$prefix:rec:$generation:$user", "$prefix:left:$user"];
[$record, $result, $left] = $redis->mGet($names);
$record = json_decode($record, true);
$result = json_decode($result ?: 'null', true);
$own = ($result['format'] ?? null) === 2 ? $result['items'] : [];
$popular = array_map(fn ($item) => [$item], $record['popular']);

// What the user has just had, and what is hidden from everybody until some time, is left out.
$left = json_decode('[' . substr($left ?: '', 0, -2) . ']');
$items = array_column([...$own, ...$popular], 0);
$until = $redis->rawCommand('ZMSCORE', "$prefix:hidden", ...$items);
$isHidden = fn ($i) => $until[$i] === 'inf' || (float) $until[$i] > 1000 * microtime(true);
$hidden = array_filter($items, $isHidden, ARRAY_FILTER_USE_KEY);
$isShown = fn ($place) => !in_array($place[0], [...$left, ...$hidden], true);
$places = array_filter($own, $isShown) ?: array_filter($popular, $isShown);
$places = array_slice($places, 0, (int) $n);

$ids = [...array_column($places, 0), ...array_column($places, 2)];
$titles = $ids ? $redis->hMGet("$prefix:titles:{$record['snapshot']}", $ids) : [];
foreach ($places as $i => $place) {
    [$item, $score, $because] = array_pad($place, 3, null);
    $line = [$i + 1, $titles[$item] ?: $item];
    if ($because !== null) {
        array_push($line, sprintf('%.4f', $score), $titles[$because] ?: $because);
    }
    echo implode("\t", $line), "\n";
}

// redis[s]://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or unix://[USER:PASSWORD@]/PATH, with ?db=DATABASE in either.
// parse_url does not support the second.
function connect(string $url): Redis
{
    $shape = '~^(rediss?|unix)://(?:([^:@/]*):([^@/]*)@)?(\[.+\]|[^:/?]*)(?::(\d+))?(/[^?]*)?(?:\?(.*))?$~';
    if (!preg_match($shape, $url, $part)) {
        fail('The Redis URL is invalid.');
    }
    [, $scheme, $user, $password, $host, $port, $path, $query] = $part + array_fill(0, 8, '');
    parse_str($query, $options);
    $database = $options['db'] ?? ($scheme === 'unix' ? '0' : (substr($path, 1) ?: '0'));
    if (!ctype_digit($database)) {
        fail('The database in the Redis URL is not a number.');
    }
    $redis = new Redis();
    if ($scheme === 'unix') {
        $redis->connect(rawurldecode($path));
    } else {
        $redis->connect(($scheme === 'rediss' ? 'tls://' : '') . trim($host, '[]'), (int) ($port ?: 6379));
    }
    if ($password !== '') {
        $redis->auth(array_map('rawurldecode', $user === '' ? [$password] : [$user, $password]));
    }
    $redis->select((int) $database);
    return $redis;
}

function fail(string $why): never
{
    fwrite(STDERR, "$why\n");
    exit(1);
}
