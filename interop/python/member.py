"""One member of a consumer group, of kafka-python or confluent-kafka: sister of the Go program in ../member.

It reads nothing but its flags, commits what it has read after each poll, and prints one line of JSON for each
thing that happens to it, before it goes on. SIGTERM makes it leave.
"""
import argparse
import json
import signal
import sys
import time

parser = argparse.ArgumentParser()
for flag in ('library', 'bootstrap', 'group', 'topic', 'protocol', 'name', 'instance', 'session'):
    parser.add_argument('-' + flag, default='')
flags = parser.parse_args()
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))


def say(event, **rest):
    # In one piece: the library writes lines of its own from its threads.
    sys.stdout.write(json.dumps({'at': time.time_ns(), 'event': event, **rest}) + '\n')
    sys.stdout.flush()


def say_partitions(event, partitions):
    if partitions:
        say(event, partitions=sorted(p.partition for p in partitions))


def kafka_python():
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
    from kafka.errors import KafkaError
    from kafka.structs import OffsetAndMetadata

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say_partitions('assigned', assigned)

        def on_partitions_revoked(self, revoked):
            say_partitions('revoked', revoked)

        def on_partitions_lost(self, lost):
            say_partitions('lost', lost)

    # Its range and round robin lose a dynamic member when the members it is given are dynamic, static, dynamic.
    assignors = {'classic-eager': StickyPartitionAssignor, 'classic-cooperative': CooperativeStickyAssignor}
    consumer = KafkaConsumer(
        bootstrap_servers=[flags.bootstrap], group_id=flags.group, client_id=flags.name,
        group_instance_id=flags.instance or None, partition_assignment_strategy=[assignors[flags.protocol]],
        auto_offset_reset='earliest', enable_auto_commit=False, session_timeout_ms=int(flags.session), heartbeat_interval_ms=500,
        reconnect_backoff_max_ms=200)
    consumer.subscribe([flags.topic], listener=Listener())
    say('joined')
    while not stopped:
        offsets = {}
        # A poll that ends while a leader rejoins because of new metadata makes it forget the assignment, so be long.
        for partition, records in consumer.poll(timeout_ms=5000).items():
            for r in records:
                say('record', partition=r.partition, offset=r.offset, value=r.value.decode())
            offsets[partition] = OffsetAndMetadata(records[-1].offset + 1, '', -1)
        if not offsets:
            continue
        try:
            consumer.commit(offsets)
            say('committed', offsets={p.partition: o.offset for p, o in offsets.items()})
        except KafkaError as e:
            say('refused', error=repr(e))
    consumer.close()


def confluent_kafka():
    from confluent_kafka import Consumer, KafkaException

    config = {'bootstrap.servers': flags.bootstrap, 'group.id': flags.group, 'client.id': flags.name,
              'auto.offset.reset': 'earliest', 'enable.auto.commit': False, 'reconnect.backoff.max.ms': 200}
    if flags.instance:
        config['group.instance.id'] = flags.instance
    if flags.protocol == 'consumer':
        config['group.protocol'] = 'consumer'
    else:
        config |= {'session.timeout.ms': int(flags.session), 'heartbeat.interval.ms': 500, 'partition.assignment.strategy':
                   {'classic-eager': 'range', 'classic-cooperative': 'cooperative-sticky'}[flags.protocol]}
    consumer = Consumer(config)
    consumer.subscribe([flags.topic], on_assign=lambda _, ps: say_partitions('assigned', ps),
                       on_revoke=lambda _, ps: say_partitions('revoked', ps),
                       on_lost=lambda _, ps: say_partitions('lost', ps))
    say('joined')
    while not stopped:
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            say('refused', error=str(message.error()))
            continue
        say('record', partition=message.partition(), offset=message.offset(), value=message.value().decode())
        try:
            for done in consumer.commit(message=message, asynchronous=False):
                if done.error:
                    say('refused', error=str(done.error))
                else:
                    say('committed', offsets={done.partition: done.offset})
        except KafkaException as e:
            say('refused', error=str(e))
    consumer.close()


{'kafka-python': kafka_python, 'confluent-kafka': confluent_kafka}[flags.library]()
say('left')
