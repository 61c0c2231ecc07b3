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
    if (get_option('polylang') === 'wpml') {
        // As `wpml-rest-api` (github.com/shawnhooper/wpml-rest-api) tells it: locales, and its others without itself.
        $locales = ['en' => 'en_US', 'ru' => 'ru_RU', 'kk' => 'kk'];
        register_rest_field('post', 'wpml_current_locale', [
            'get_callback' => fn ($post) => $locales[get_post_meta($post['id'], 'lang', true)] ?? 'en_US',
        ]);
        register_rest_field('post', 'wpml_translations', [
            'get_callback' => function ($post) use ($locales) {
                $found = [];
                $group = get_post_meta($post['id'], 'group', true) ?: 'none';
                $asked = ['meta_key' => 'group', 'meta_value' => $group, 'numberposts' => -1];
                foreach (get_posts($asked + ['exclude' => [$post['id']]]) as $one) {
                    $found[] = [
                        'locale' => $locales[get_post_meta($one->ID, 'lang', true)], 'id' => $one->ID,
                        'post_title' => $one->post_title, 'href' => get_permalink($one->ID),
                    ];
                }
                return $found;
            },
        ]);
        return;
    }
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
// WPML tells one language at a time.
add_filter('rest_post_query', function ($asked, $request) {
    if (get_option('polylang') === 'wpml') {
        $asked['meta_query'] = [['key' => 'lang', 'value' => $request->get_param('lang') ?: 'en']];
    }
    return $asked;
}, 10, 2);
// A theme that keeps a post out of its listings.
add_action('pre_get_posts', function ($query) {
    if (get_option('hidden')) {
        $query->set('post__not_in', [(int) get_option('hidden')]);
    }
});
