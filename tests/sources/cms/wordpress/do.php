<?php
// What editors do, by WordPress's own functions: a list of steps as JSON on stdin, their results as JSON on stdout.
$steps = json_decode(file_get_contents('php://stdin'), true);
if (isset($steps['install'])) {
    define('WP_INSTALLING', true);
}
$_SERVER += ['HTTP_HOST' => parse_url(getenv('WORDPRESS_URL'), PHP_URL_HOST), 'SERVER_PROTOCOL' => 'HTTP/1.1'];
require __DIR__ . '/site.php';
require ABSPATH . 'wp-settings.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';
if (isset($steps['install'])) {
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    wp_install('A site', 'editor', 'editor@example.org', true, '', 'a password of a test');
    update_option('permalink_structure', '/%postname%/');
    update_option('timezone_string', 'Asia/Almaty');
    wp_delete_post(1, true);
    wp_delete_post(2, true);
    wp_delete_post(3, true);
    echo '[]';
    exit;
}
wp_set_current_user(1);
$results = [];
foreach ($steps as $step) {
    [$function, $arguments] = $step;
    $result = $function(...$arguments);
    if (is_wp_error($result)) {
        fwrite(STDERR, $function . ': ' . $result->get_error_message());
        exit(1);
    }
    $results[] = is_scalar($result) || is_array($result) ? $result : null;
}
echo json_encode($results);

// A post, by WordPress's names for its parts.
function write(array $given): int
{
    $id = wp_insert_post(wp_slash($given), true);
    if (is_wp_error($id)) {
        throw new RuntimeException($id->get_error_message());
    }
    return $id;
}

function category(string $name): int
{
    return wp_insert_term($name, 'category')['term_id'];
}

// A picture in the media library, with its alternative text and caption.
function picture(string $path, string $alt, string $caption): int
{
    $upload = wp_upload_bits(basename($path), null, file_get_contents($path));
    $id = wp_insert_attachment(
        ['post_mime_type' => 'image/png', 'post_title' => basename($path), 'post_excerpt' => $caption],
        $upload['file']
    );
    wp_update_attachment_metadata($id, wp_generate_attachment_metadata($id, $upload['file']));
    update_post_meta($id, '_wp_attachment_image_alt', $alt);
    return $id;
}

// What the media library does when somebody describes a picture.
function describe(int $id, string $alt): void
{
    update_post_meta($id, '_wp_attachment_image_alt', $alt);
    wp_update_post(['ID' => $id]);
}

// The clock moves on for what was written so far: `days` ago it was.
function age(float $days): void
{
    global $wpdb;
    $seconds = (int) ($days * 86400);
    $wpdb->query("UPDATE $wpdb->posts SET " . implode(', ', array_map(
        fn ($name) => "$name = $name - INTERVAL $seconds SECOND",
        ['post_date', 'post_date_gmt', 'post_modified', 'post_modified_gmt']
    )) . " WHERE post_status = 'publish' OR post_type = 'attachment'");
    wp_cache_flush();
}

// A site as it is after its installation.
function clean(): void
{
    global $wpdb;
    foreach (['posts', 'postmeta', 'term_relationships'] as $table) {
        $wpdb->query("TRUNCATE {$wpdb->$table}");
    }
    $wpdb->query("DELETE FROM $wpdb->terms WHERE term_id > 1");
    $wpdb->query("DELETE FROM $wpdb->term_taxonomy WHERE term_id > 1");
    wp_cache_flush();
    update_option('polylang', '');
    permalinks('/%postname%/');
}

function permalinks(string $structure): void
{
    update_option('permalink_structure', $structure);
    delete_option('rewrite_rules');
}

// As wp_publish_post does to a scheduled post, at a moment of the site's own time zone.
function publish_at(int $id, string $moment): void
{
    global $wpdb;
    $wpdb->update($wpdb->posts, ['post_date' => $moment, 'post_modified' => '2026-01-01 00:00:00',
        'post_modified_gmt' => '2025-12-31 19:00:00', 'post_date_gmt' => get_gmt_from_date($moment)], ['ID' => $id]);
    clean_post_cache($id);
    wp_publish_post($id);
}
