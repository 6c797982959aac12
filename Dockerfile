# The image: one static binary in an empty file system.
#
#   docker build -t mcp-echo-streamablehttp-server-stateful .
#   docker build -t mcp-echo-streamablehttp-server-stateful:debug --target debug .
#   docker buildx build --platform linux/amd64,linux/arm64 .
#   buildah build --format docker .        (the OCI format has no HEALTHCHECK)
#
# Needs nothing of the container it runs in:
#
#   docker run --rm -p 3000:3000 --read-only --cap-drop ALL --security-opt no-new-privileges IMAGE
#
# LOG_FILE wants a volume on /logs then: -v mcp-echo-logs:/logs -e LOG_FILE=/logs/mcp-echo-stateful.log

ARG RUST_VERSION=1.95

# ---- build -----------------------------------------------------------------------------------------------------------
# On the builder's own architecture, whatever the image's: compiling under emulation takes an hour, cross-compiling takes
# no longer than compiling. No C compiler for the target is needed: the program's dependencies are Rust throughout, and the
# toolchain brings linker and musl along.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /build

ARG TARGETARCH
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
# TARGETARCH is the builder's word for the image's architecture; a builder that says none builds for its own.
RUN case "${TARGETARCH:-$(uname -m)}" in \
      amd64 | x86_64) target=x86_64-unknown-linux-musl ;; \
      arm64 | aarch64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no image for the architecture ${TARGETARCH:-$(uname -m)}: only amd64 and arm64" >&2; exit 1 ;; \
    esac \
    && echo "$target" > /target \
    && rustup target add "$target"

# The dependencies in a layer of their own, compiled with an empty program: rebuilt when Cargo.toml or Cargo.lock change,
# not with every line of the source. A layer, not a cache mount: it travels with `--cache-to` and to a fresh CI runner.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo '//! Empty.' > src/lib.rs \
    && printf '//! Empty.\nfn main() {}\n' > src/main.rs \
    && cargo build --release --locked --target "$(cat /target)" --bin mcp-echo-streamablehttp-server-stateful

COPY src src
# touch: COPY keeps the files' own times, and cargo takes sources older than the empty program for unchanged.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --target "$(cat /target)" --bin mcp-echo-streamablehttp-server-stateful \
    && install -D "target/$(cat /target)/release/mcp-echo-streamablehttp-server-stateful" \
         /image/usr/local/bin/mcp-echo-streamablehttp-server-stateful \
    && mkdir /image/logs /image/data

# ---- debug: the same binary where there is a shell --------------------------------------------------------------------
# Only by `--target debug`. For a look around with sh and curl, and for compose files whose health check is written with them.
FROM debian:bookworm-slim AS debug
# Unpinned on purpose: these are tools for looking around, and Debian drops a version from its archive with every fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /image/usr/local/bin/ /usr/local/bin/
COPY --from=build --chown=65534:65534 /image/logs /logs
COPY --from=build --chown=65534:65534 /image/data /data
USER 65534:65534
ENV MCP_ECHO_HOST=0.0.0.0
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/mcp-echo-streamablehttp-server-stateful", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-echo-streamablehttp-server-stateful"]
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="mcp-echo-streamablehttp-server-stateful (debug)" \
      org.opencontainers.image.version="${VERSION}"

# ---- the image: last, so that it is what a build without --target makes -----------------------------------------------
FROM scratch AS final
COPY --from=build /image/usr/local/bin/ /usr/local/bin/
# scratch has no folders, and a volume mounted on a folder of the image takes over its owner: LOG_FILE=/logs/... and
# MCP_STORE=disk:/data/sessions just work.
COPY --from=build --chown=65534:65534 /image/logs /logs
COPY --from=build --chown=65534:65534 /image/data /data
# By number: there is no /etc/passwd, and Kubernetes' runAsNonRoot takes nothing else.
USER 65534:65534
# The program's own default is loopback, which nothing outside the container could reach.
ENV MCP_ECHO_HOST=0.0.0.0
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/mcp-echo-streamablehttp-server-stateful", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-echo-streamablehttp-server-stateful"]

# Last of all, so that a new version or commit costs no other layer.
ARG VERSION=unreleased
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="mcp-echo-streamablehttp-server-stateful" \
      org.opencontainers.image.description="Diagnostic MCP server: tells what is wrong with a client's token, headers, proxy or session" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
