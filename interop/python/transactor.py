"""A transactional producer of kafka-python or confluent-kafka: sister of the Go program in ../transactor, which tells
what it does. Both libraries speak version 1 of transactions (kafka-python 3.0.12, librdkafka 2.16).
"""
import argparse
import json
import signal
import sys
import time

parser = argparse.ArgumentParser()
for flag in ('library', 'bootstrap', 'id', 'group', 'from', 'to'):
    parser.add_argument('-' + flag, default='')
for flag, default in (('flow', 1), ('timeout', 60000), ('hang', 0)):
    parser.add_argument('-' + flag, type=int, default=default)
flags = vars(parser.parse_args())
stopped = []


def say(event, **rest):
    # In one piece: the library writes lines of its own from its threads.
    sys.stdout.write(json.dumps({'at': time.time_ns(), 'event': event, **rest}) + '\n')
    sys.stdout.flush()


class KafkaPython:
    """Wants methods of its producer, which confluent-kafka's has by other names."""
    def __init__(self):
        from kafka import KafkaProducer
        from kafka.errors import KafkaError
        self.errors = KafkaError
        self.producer = KafkaProducer(bootstrap_servers=[flags['bootstrap']], transactional_id=flags['id'],
                                      transaction_timeout_ms=flags['timeout'], reconnect_backoff_max_ms=200)
        self.producer.init_transactions()
        self.begin, self.commit, self.abort = \
            self.producer.begin_transaction, self.producer.commit_transaction, self.producer.abort_transaction

    def send(self, topic, values):
        for sent in [self.producer.send(topic, value=value, partition=partition) for partition, value in values]:
            sent.get(timeout=60)

    def fatal(self, error):
        return self.producer._transaction_manager.has_fatal_error()

    def consume(self):
        from kafka import KafkaConsumer
        self.consumer = KafkaConsumer(
            flags['from'], bootstrap_servers=[flags['bootstrap']], group_id=flags['group'], isolation_level='read_committed',
            auto_offset_reset='earliest', enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
            reconnect_backoff_max_ms=200)
        self.close = self.consumer.close

    def poll(self):
        # A poll that ends while a leader rejoins because of new metadata makes it forget the assignment, so be long.
        batches = self.consumer.poll(timeout_ms=5000, max_records=20)
        return [(r.partition, r.offset, r.value) for records in batches.values() for r in records]

    def offsets(self, offsets):
        from kafka.structs import OffsetAndMetadata, TopicPartition
        self.producer.send_offsets_to_transaction(
            {TopicPartition(flags['from'], p): OffsetAndMetadata(offset, '', -1) for p, offset in offsets.items()},
            self.consumer.group_metadata())


class ConfluentKafka:
    def __init__(self):
        from confluent_kafka import KafkaException, Producer
        self.errors = KafkaException
        # librdkafka gives up its brokers when the last of them goes, but waits for one of those to send it the offsets,
        # for good (its issue 5511; 2.16.0).
        self.producer = Producer({'bootstrap.servers': flags['bootstrap'], 'transactional.id': flags['id'], 'linger.ms': 0,
                                  'transaction.timeout.ms': flags['timeout'], 'reconnect.backoff.max.ms': 200,
                                  'metadata.recovery.strategy': 'none'})
        self.again(self.producer.init_transactions)
        self.begin = self.producer.begin_transaction

    def again(self, call, *args):
        """Its calls end with errors that are to be tried again when the broker is away for some time."""
        while True:
            try:
                return call(*args)
            except self.errors as e:
                if not e.args[0].retriable():
                    raise

    def commit(self):
        self.again(self.producer.commit_transaction)

    def abort(self):
        self.again(self.producer.abort_transaction)

    def send(self, topic, values):
        failed = []
        for partition, value in values:
            self.producer.produce(topic, value, partition=partition, on_delivery=lambda e, _: e and failed.append(e))
        self.producer.flush()
        if failed:
            raise self.errors(failed[0])

    def fatal(self, error):
        # Delivery reports do not say it, the next call of the producer does.
        try:
            self.again(self.producer.abort_transaction)
        except self.errors as e:
            return e.args[0].fatal()
        return False

    def consume(self):
        from confluent_kafka import Consumer
        self.consumer = Consumer({
            'bootstrap.servers': flags['bootstrap'], 'group.id': flags['group'], 'isolation.level': 'read_committed',
            'auto.offset.reset': 'earliest', 'enable.auto.commit': False, 'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500,
            'partition.assignment.strategy': 'cooperative-sticky', 'reconnect.backoff.max.ms': 200})
        self.consumer.subscribe([flags['from']])
        self.close = self.consumer.close

    def poll(self):
        messages = self.consumer.consume(20, timeout=0.2)
        return [(m.partition(), m.offset(), m.value()) for m in messages if not m.error()]

    def offsets(self, offsets):
        from confluent_kafka import TopicPartition
        self.again(self.producer.send_offsets_to_transaction,
                   [TopicPartition(flags['from'], p, offset) for p, offset in offsets.items()],
                   self.consumer.consumer_group_metadata())


def obey(client):
    for line in sys.stdin:
        command, *args = line.split()
        try:
            if command == 'send':
                client.send(args[0], [(int(args[1]), args[2].encode())])
            else:
                {'begin': client.begin, 'commit': client.commit, 'abort': client.abort}[command]()
            say('did')
        except client.errors as e:
            say('refused', error=repr(e), fatal=client.fatal(e))


def copy(client):
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    client.consume()
    n = 0
    while not stopped:
        records = client.poll()
        if not records:
            continue
        offsets = {partition: offset + 1 for partition, offset, _ in records}

        def write():
            client.begin()
            client.send(flags['to'], [(partition, value) for partition, _, value in records])
            client.offsets(offsets)

        n += 1
        if n % 3 == 0:
            write()
            client.abort()
            say('aborted')
        write()
        if n == flags['hang']:
            say('hangs')
            sys.stdin.readline()
        client.commit()
        say('committed', offsets=offsets)
    client.close()
    say('left')


if flags['flow'] != 1:
    sys.exit(f'version {flags["flow"]} of transactions is not spoken')
client = {'kafka-python': KafkaPython, 'confluent-kafka': ConfluentKafka}[flags['library']]()
say('ready')
if flags['group']:
    try:
        copy(client)
    except client.errors as e:
        say('failed', error=repr(e))
        sys.exit(1)
else:
    obey(client)
