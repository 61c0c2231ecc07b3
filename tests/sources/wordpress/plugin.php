<?php
// A custom type, and the REST fields of Polylang Pro (polylang.pro/doc/rest-api) for posts that name their translations.
add_action('init', function () {
    register_post_type('press', [
        'public' => true, 'show_in_rest' => true, 'rest_base' => 'press', 'taxonomies' => ['category'],
        'supports' => ['title', 'editor', 'excerpt', 'thumbnail', 'author'], 'labels' => ['name' => 'Press releases'],
    ]);
});
// Typographic quotes are WordPress's own doing; the suite compares to the letter.
add_filter('run_wptexturize', '__return_false');
// The same last part of an address in each language, as the plugins for languages have it.
add_filter('post_link', function ($link, $post) {
    $at = get_post_meta($post->ID, 'at', true);
    return $at ? home_url($at) : $link;
}, 10, 2);
add_action('rest_api_init', function () {
    if (get_option('polylang')) {
        register_rest_field('post', 'lang', [
            'get_callback' => fn ($post) => get_post_meta($post['id'], 'lang', true) ?: 'en',
        ]);
        register_rest_field('post', 'translations', [
            'get_callback' => function ($post) {
                $group = get_post_meta($post['id'], 'group', true) ?: 'none';
                $found = [];
                foreach (get_posts(['meta_key' => 'group', 'meta_value' => $group, 'numberposts' => -1]) as $one) {
                    $found[get_post_meta($one->ID, 'lang', true)] = $one->ID;
                }
                return $found;
            },
        ]);
    }
});
// A theme that keeps a post out of its listings.
add_action('pre_get_posts', function ($query) {
    if (get_option('hidden')) {
        $query->set('post__not_in', [(int) get_option('hidden')]);
    }
});
