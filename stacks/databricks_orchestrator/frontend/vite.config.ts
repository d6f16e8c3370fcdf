import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// Names under which the reverse proxy may hand pages on, besides localhost and plain addresses.
const allowedHosts = (process.env.VITE_ALLOWED_HOSTS ?? '').split(',').map((name) => name.trim()).filter(Boolean)

export default defineConfig({
  // index.html lies in src/, so that development mounts directories and never a single file
  // (an editor that saves by renaming would leave the old file mounted).
  root: 'src',
  publicDir: '../public',
  cacheDir: process.env.VITE_CACHE_DIR,
  build: { outDir: '../dist', emptyOutDir: true },
  plugins: [react()],
  server: {
    allowedHosts,
    // Run alone (`npm run dev`), the API is the backend on this machine; behind the proxy this is never asked.
    proxy: { '^/(api/|(health|docs|openapi\\.json)([?/]|$))': process.env.VITE_BACKEND ?? 'http://localhost:8000' },
  },
  test: { root: '.', environment: 'jsdom', include: ['src/**/*.test.{ts,tsx}'], restoreMocks: true },
})
