# One image for every process of the stack.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.lock ./
RUN python3 -m pip install --require-hashes -r requirements.lock
COPY . .
RUN python3 -m pip install --no-deps --no-build-isolation --editable . \
 && mkdir -p /runs/stack/logs \
 && chown -R 10001:10001 /runs

USER 10001:10001
VOLUME /runs
CMD ["badgateway", "--help"]
