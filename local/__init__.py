"""The cloud on one machine.

`local.cloud.Cloud` deploys the same template that `sam deploy` does, into an embedded moto server,
and does what AWS does between the services: it delivers messages, events and schedules to the
functions, and runs SageMaker jobs. Nothing in `functions/` or `training/` knows that it exists.
"""
