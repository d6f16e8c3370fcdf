//! Dockerfile bytes to stages of spanned instructions; expansion, heredocs, .dockerignore.
