import java.util.Scanner;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/** Runs kafka-consumer-groups once for each line of standard input, all in one virtual machine, which is slow to start. */
public final class Groups {
    public static void main(String[] args) {
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            String line = lines.nextLine();
            System.out.println("$ " + line);
            ConsumerGroupCommand.main(("--bootstrap-server " + args[0] + " " + line).split(" "));
        }
    }
}
