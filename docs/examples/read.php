<?php
// Prints a user's recommendations: php read.php USER [N]
[, $user, $n] = $argv + [2 => 10];
$url = parse_url(getenv('RECKONER_REDIS_URL') ?: 'redis://localhost:6379');
$prefix = getenv('RECKONER_PREFIX') ?: 'reckoner';

$redis = new Redis();
$redis->connect($url['host'], $url['port'] ?? 6379);
if (isset($url['pass'])) {
    $redis->auth(urldecode($url['pass']));
}
$generation = $redis->get("$prefix:generation");
if ($generation === false) {
    fwrite(STDERR, "No model was fitted yet.\n");
    exit(1);
}

[$record, $result] = $redis->mGet(["$prefix:record:$generation", "$prefix:rec:$generation:$user"]);
$record = json_decode($record, true);
$own = $result === false ? [] : json_decode($result, true)['items'];
$popular = array_map(fn ($item) => ['item' => $item], $record['popular']);
$places = array_slice($own ?: $popular, 0, (int) $n);

$ids = [...array_column($places, 'item'), ...array_column($places, 'because')];
$titles = $redis->hMGet("$prefix:titles:{$record['snapshot']}", $ids);
foreach ($places as $i => $place) {
    $line = [$i + 1, $titles[$place['item']] ?: $place['item']];
    if (isset($place['because'])) {
        array_push($line, sprintf('%.4f', $place['score']), $titles[$place['because']] ?: $place['because']);
    }
    echo implode("\t", $line), "\n";
}
