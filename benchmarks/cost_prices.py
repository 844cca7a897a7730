"""What AWS asks, and what a request of each kind adds up to for an image. US dollars, us-east-1.

List prices as several public price tables agree on them, 2026-11; those of S3, SQS and KMS are from
general knowledge. Look yours up. Free tiers are left out.
"""

from dataclasses import dataclass

S3_PUT = 0.005 / 1000  # also LIST, and each step of a multipart upload
S3_GET = 0.0004 / 1000
SQS_REQUEST = 0.40 / 1e6
KMS_REQUEST = 0.03 / 10_000
LAMBDA_REQUEST = 0.20 / 1e6
LAMBDA_GB_S = 0.0000166667  # x86
DYNAMODB_WRITE, DYNAMODB_READ = 0.625 / 1e6, 0.125 / 1e6
SECONDS_PER_DAY = 86_400

INTAKE_GB, INTAKE_BATCH = 2.5, 10
DECODE_S = 0.06  # of an image in intake: reading, a child of the sandbox, PNG, writing
COLLECT_GB, COLLECT_S = 1.769, 0.005  # benchmarks/results/collect.md
DISPATCH_GB, DISPATCH_S = 0.5, 0.2


@dataclass(frozen=True)
class Requests:
    """Everything but the model's own seconds. `kms`: if a key of one's own had no bucket keys."""

    usd: float
    kms: float


def to_take_in(images: int, gets: int = 1) -> Requests:
    """S3's message, its receipt by tens, and the reading of each image; the same in every way."""
    messages = SQS_REQUEST * (images + 2 * images / INTAKE_BATCH)
    return Requests(messages + S3_GET * images * gets, KMS_REQUEST * images * gets)


def of_batches(images: int, windows: int, jobs: int, *, ticks: int, multipart: bool) -> Requests:
    """The batched way: a slice, an output and a JSON for each image, and what a job needs.

    `multipart`: outputs are put in three steps, as SageMaker's guide says of them.
    """
    taken = to_take_in(images)
    output_puts = 3 if multipart else 1
    puts: float = images * (2 + output_puts)  # slice, JSON, output
    # An index part for each invocation; parts, manifest, summary, statistics, sheet for each job.
    puts += images / INTAKE_BATCH + 5 * jobs + images / 500 + 2 * windows
    gets = images * 2 + images / INTAKE_BATCH + 60 * jobs  # slice, output; the contact sheet's
    lambdas = (
        LAMBDA_REQUEST * (images / INTAKE_BATCH + ticks + jobs)
        + LAMBDA_GB_S * images * (INTAKE_GB * DECODE_S + COLLECT_GB * COLLECT_S)
        + LAMBDA_GB_S * ticks * DISPATCH_GB * DISPATCH_S
    )
    table = DYNAMODB_WRITE * 2 * (images / INTAKE_BATCH + 4 * jobs + windows)
    table += DYNAMODB_READ * (3 * ticks + 2 * jobs)
    usd = taken.usd + S3_PUT * puts + S3_GET * gets + lambdas + table
    return Requests(usd, taken.kms + KMS_REQUEST * (images * 5))


def of_one_by_one(images: int, waiting_gb_s: float) -> Requests:
    """An image is read, decoded, scored while a function waits or works, and its JSON is put."""
    taken = to_take_in(images)
    lambdas = LAMBDA_REQUEST * images / INTAKE_BATCH
    lambdas += LAMBDA_GB_S * (images * INTAKE_GB * DECODE_S + waiting_gb_s)
    return Requests(taken.usd + S3_PUT * images + lambdas, taken.kms + KMS_REQUEST * images)
