import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.MessageFormatter;

/** A formatter of the console consumer that tells the topic, too, which its own one does not. */
public final class WithTopic implements MessageFormatter {
    @Override
    public void configure(Map<String, ?> configs) {
    }

    @Override
    public void writeTo(ConsumerRecord<byte[], byte[]> r, PrintStream out) {
        out.println("read %s %d %d %s".formatted(r.topic(), r.partition(), r.offset(), new String(r.value(), StandardCharsets.UTF_8)));
    }
}
