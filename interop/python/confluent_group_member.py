"""One member of a group (confluent-kafka): prints how many partitions it has and what it reads."""
import sys
from confluent_kafka import Consumer

address, topic, group = sys.argv[1:]
consumer = Consumer({'bootstrap.servers': address, 'group.id': group, 'auto.offset.reset': 'earliest',
                     'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500, 'auto.commit.interval.ms': 100})
consumer.subscribe([topic], on_assign=lambda _, partitions: print(f"assigned {len(partitions)}"))
while True:
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        raise SystemExit(message.error())
    print(f"partition {message.partition()} offset {message.offset()} {message.value().decode()}")
