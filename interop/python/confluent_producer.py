"""The guide's producer, written for confluent-kafka."""
import json
from confluent_kafka import Producer

producer = Producer({'bootstrap.servers': 'localhost:9092'})
message = {'event_type': 'user_login', 'user_id': 12345, 'timestamp': 1678886400}
failures = []
producer.produce('my-topic', json.dumps(message).encode('utf-8'),
                 on_delivery=lambda err, _: failures.append(err) if err else None)
if producer.flush(30) or failures:
    raise SystemExit(f"not delivered: {failures}")
print("Message sent successfully!")
