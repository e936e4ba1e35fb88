"""The guide's consumer, written for confluent-kafka."""
import json
from confluent_kafka import Consumer

consumer = Consumer({'bootstrap.servers': 'localhost:9092', 'group.id': 'my-consumer-group',
                     'auto.offset.reset': 'earliest', 'enable.auto.commit': True})
consumer.subscribe(['my-topic'])
while True:
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        raise SystemExit(message.error())
    print(f"Received message: {json.loads(message.value())}")
