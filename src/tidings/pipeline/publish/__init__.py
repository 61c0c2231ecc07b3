"""Step 2: write feeds, pages and the edition archive to `public/`."""
