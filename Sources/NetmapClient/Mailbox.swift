internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Where the daemon puts what a process must know before it can meet it: the doorbells of others.
///
/// Nobody waits for mail. It is fetched when a sync meets a doorbell number that the process does not
/// know; the daemon has posted the doorbell before the number could be met.
final class Mailbox: Sendable {
  let socket: MessageSocket
  private let fetching = Mutex<Void>(())
  /// Set once, before anybody can ring.
  private let table = Mutex<DoorbellTable?>(nil)

  init(_ socket: MessageSocket) {
    self.socket = socket
    ForkedDescriptors.add(socket.descriptor)
  }

  deinit { ForkedDescriptors.remove(socket.descriptor) }

  /// - Parameter doorbells: Where doorbells go that arrive; it outlives the mailbox's last use.
  func deliver(to doorbells: DoorbellTable) {
    table.withLock { $0 = doorbells }
  }

  /// Installs every doorbell that has been posted. Does not block.
  func fetch() {
    fetching.withLock { _ in
      guard let table = table.withLock({ $0 }) else { return }
      // An error means that the daemon has gone: then nobody new can be met either.
      while let mail = try? socket.receive(waits: false), !mail.bytes.isEmpty {
        guard var message = try? Message(mail.bytes), message.kind == .doorbell,
          let file = mail.files.first, let number = try? message.body.take(UInt32.self),
          let descriptor = try? file.duplicate()
        else { continue }
        table.install(descriptor, as: number)
      }
    }
  }

  /// How the doorbell table asks for more. The mailbox must outlive every port that uses the table.
  var resolver: DoorbellTable.Resolver {
    unsafe DoorbellTable.Resolver(context: Unmanaged.passUnretained(self).toOpaque()) { context in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().fetch()
    }
  }
}
