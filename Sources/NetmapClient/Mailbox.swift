internal import Glibc
internal import NetmapCore
internal import Synchronization

/// Where the daemon puts what a process must know to meet others: their doorbells, and the memory of the
/// ports that are on a switch with its own.
///
/// Nobody waits for mail. It is fetched when a sync meets a doorbell number or a port that the process
/// does not know; the daemon has posted the doorbell before the number could be met.
final class Mailbox: Sendable {
  let socket: MessageSocket
  let switches = SwitchTables()
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

  /// Installs everything that has been posted, or as much as is asked for. Does not block.
  ///
  /// - Parameter limit: How many messages are read at most.
  /// - Returns: Whether there may be more; `hasEnded` when the daemon has gone.
  @discardableResult
  func fetch(limit: Int = .max) -> Worker.Mail.State {
    fetching.withLock { _ in
      guard let table = table.withLock({ $0 }) else { return .isRead }
      // An error means that the daemon has gone: then nobody new can be met either.
      // Mail whose descriptors could not be received is lost; what is behind it is not.
      for _ in 0..<limit {
        let mail: MessageSocket.Datagram?
        do throws(NetmapError) {
          mail = try socket.receive(waits: false)
        } catch {
          if error.code.rawValue == EMSGSIZE { continue }
          return .hasEnded
        }
        guard let mail else { return .isRead }
        guard !mail.bytes.isEmpty else { return .hasEnded }
        guard var message = try? Message(mail.bytes) else { continue }
        if message.kind == .neighbour {
          // A port that cannot be mapped is one to which packets are dropped, and counted.
          try? switches.take(message, mail.files)
          continue
        }
        guard message.kind == .doorbell, let number = try? message.body.take(UInt32.self),
          let isOwnEnd = try? message.body.take(UInt8.self)
        else { continue }
        if isOwnEnd != 0 {
          table.installOwnEnd(as: number)
        } else if let descriptor = try? mail.files.first?.duplicate() {
          table.install(descriptor, as: number)
        }
      }
      return .goesOn
    }
  }

  /// What a worker of this process reads between its turns, so that ports that have left a switch are unmapped
  /// soon.
  var mail: Worker.Mail {
    Worker.Mail(descriptor: socket.descriptor) { [self] in
      let state = fetch(limit: Self.turnLimit)
      let keeps = switches.sweep()
      return state == .isRead && keeps ? .goesOn : state
    }
  }

  /// Messages that a worker reads in a turn: each may map or unmap a port.
  private static let turnLimit = 32

  /// Has the daemon ring a doorbell that this process does not have: its mail was lost, because no descriptor was
  /// free to receive it with, or still waits in the daemon for room in the mailbox. Does not block.
  func ring(_ number: UInt32) {
    // An error means that the daemon has gone, or has not read for long.
    try? socket.send(Message.bytes(.ring) { $0.put(number) }, waits: false)
  }

  /// How the doorbell table asks for more. The mailbox must outlive every port that uses the table.
  var resolver: DoorbellTable.Resolver {
    unsafe DoorbellTable.Resolver(context: Unmanaged.passUnretained(self).toOpaque()) { context in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().fetch()
    } ring: { context, number in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().ring(number)
    }
  }

  /// How a sync asks for a port's memory that it has not mapped. The mailbox must outlive every port.
  var destinationResolver: DestinationResolver {
    unsafe DestinationResolver(context: Unmanaged.passUnretained(self).toOpaque()) { context in
      unsafe Unmanaged<Mailbox>.fromOpaque(context).takeUnretainedValue().fetch()
    }
  }
}
