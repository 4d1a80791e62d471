# Two images from one file:
#   docker build --target web .        serves and works; no TensorFlow in it
#   docker build --target training .   trains
ARG PYTHON=3.13

# --- The environments, built where compilers and Poetry may lie about --------------------------
FROM python:${PYTHON}-slim AS build
WORKDIR /app
COPY scripts/build-env scripts/find-python scripts/index_url.py scripts/poetry scripts/poetry.txt scripts/
COPY pyproject.toml poetry.lock ./

FROM build AS build-web
# docker build --build-arg EXTRAS="openvino heic" adds optional parts.
ARG EXTRAS=""
RUN EXTRAS="$EXTRAS" scripts/build-env web && .venv/bin/python -m compileall -q .venv

FROM build AS build-training
RUN scripts/build-env training && .venv-training/bin/python -m compileall -q .venv-training

# --- What every image shares -------------------------------------------------------------------
FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENV_FILE="" \
    HOST=0.0.0.0 \
    PORT=8000 \
    STATIC_ROOT=/app/static-collected
WORKDIR /app
RUN groupadd --gid 10001 classifyme \
    && useradd --uid 10001 --gid classifyme --no-create-home --home-dir /app classifyme \
    && install -d -o classifyme -g classifyme var runs data

# --- What serves -------------------------------------------------------------------------------
FROM base AS web
COPY --from=build-web /app/.venv .venv
ENV PATH=/app/.venv/bin:$PATH
COPY . .
# The key signs nothing here: it only lets the settings load.
RUN SECRET_KEY=unused-while-building python manage.py collectstatic --no-input --verbosity 0
USER 10001:10001
VOLUME /app/var
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "scripts/healthcheck.py"]
CMD ["gunicorn", "--config", "python:classifyme.gunicorn"]

# --- What learns -------------------------------------------------------------------------------
FROM base AS training
COPY --from=build-training /app/.venv-training .venv-training
ENV PATH=/app/.venv-training/bin:$PATH
COPY . .
USER 10001:10001
VOLUME ["/app/var", "/app/runs", "/app/data"]
ENTRYPOINT ["python", "manage.py"]
CMD ["train", "--help"]
