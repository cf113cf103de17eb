package ringway.stack;

import java.io.IOException;
import java.nio.channels.SocketChannel;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.ha.DefaultHAService;
import org.apache.rocketmq.store.ha.HAConnection;

/**
 * The broker's replication service without its listener. The broker binds that on all addresses and no setting
 * changes it; a broker that has no replica needs none.
 */
public class LoopbackHAService extends DefaultHAService {
    @Override
    public void init(DefaultMessageStore store) throws IOException {
        super.init(store);
        this.acceptSocketService = new NoListener(store.getMessageStoreConfig());
    }

    private class NoListener extends AcceptSocketService {
        NoListener(MessageStoreConfig config) {
            super(config);
        }

        @Override
        public void beginAccept() {
        }

        @Override
        public void run() {
        }

        @Override
        protected HAConnection createConnection(SocketChannel channel) throws IOException {
            throw new IOException("this broker has no replica");
        }

        @Override
        public String getServiceName() {
            return "NoListener";
        }
    }
}
