"""Writes 100 records with a codec and reads them back: compress.py LIBRARY ADDRESS TOPIC CODEC"""
import sys

library, address, topic, codec = sys.argv[1:]
values = [f"value {i} {'x' * 100}".encode() for i in range(100)]

if library == 'kafka-python':
    from kafka import KafkaConsumer, KafkaProducer
    producer = KafkaProducer(bootstrap_servers=[address], compression_type=None if codec == 'none' else codec, linger_ms=50)
    sent = [producer.send(topic, v) for v in values]
    producer.flush()
    for s in sent:
        s.get(30)
    consumer = KafkaConsumer(topic, bootstrap_servers=[address], auto_offset_reset='earliest', consumer_timeout_ms=30000)
    got = []
    for m in consumer:
        got.append(m.value)
        if len(got) == len(values):
            break
else:
    from confluent_kafka import Consumer, Producer, TopicPartition
    producer = Producer({'bootstrap.servers': address, 'compression.type': codec, 'linger.ms': 50})
    for v in values:
        producer.produce(topic, v)
    if producer.flush(30):
        raise SystemExit("not delivered")
    consumer = Consumer({'bootstrap.servers': address, 'group.id': 'unused', 'enable.auto.commit': False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    got = []
    while len(got) < len(values):
        m = consumer.poll(30)
        if m is None or m.error():
            break
        got.append(m.value())
    consumer.close()
if got != values:
    raise SystemExit(f"read {len(got)} records that differ")
print(f"read {len(got)} of {len(values)}")
