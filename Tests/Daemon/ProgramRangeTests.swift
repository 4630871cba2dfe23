import CLinux
import Glibc
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Memory of a program, from the program's mappings to netmapd.
@Suite("Memory of a program through netmapd", .timeLimit(.minutes(15)))
struct DaemonProgramMemoryTests {
  @Test("a line of /proc/PID/maps has addresses, rights, place and name; other lines are none")
  func lines() throws {
    let line =
      "7f3c1e000000-7f3c1e021000 rw-s 00003000 fd:1a 131081                     /dev/shm/a b (deleted)"
    let mapping = try #require(ProcessMapping(line: Substring(line)))
    #expect(mapping.addresses == 0x7f3c_1e00_0000..<0x7f3c_1e02_1000)
    #expect(mapping.isReadable && mapping.isWritable && mapping.isShared)
    #expect(mapping.offset == 0x3000 && mapping.file == 131_081)
    #expect(mapping.device == clinux_device(0xfd, 0x1a))
    #expect(mapping.path == "/dev/shm/a b (deleted)")
    let anonymous = try #require(ProcessMapping(line: "1000-2000 ---p 00000000 00:00 0 "))
    #expect(!anonymous.isReadable && !anonymous.isWritable && !anonymous.isShared)
    #expect(anonymous.path.isEmpty)
    let others = [
      "", " ", "1000-2000", "2000-1000 rw-p 0 00:00 0", "x-y rw-p 0 00:00 0",
      "1000-2000 rw 0 00:00 0", "1000-2000 rw-p 0 00 0", "1000-2000 rw-p 0 00:00 x",
      "10000000000000000-2 rw-p 0 00:00 0",
    ]
    for other in others { #expect(ProcessMapping(line: Substring(other)) == nil, "'\(other)'") }
  }

  @Test("pages of a file are known by the file and their place in it; private ones by nothing")
  func origins() throws {
    let file = unsafe memfd_create("origins", 0)
    #expect(ftruncate(file, 8 * pageSize) == 0)
    defer { close(file) }
    let size = UInt64(4 * pageSize)
    for (flags, isKnown) in [(MAP_SHARED, true), (MAP_PRIVATE, false)] {
      let memory = unsafe mmap(
        nil, 8 * pageSize, PROT_READ | PROT_WRITE, flags, file, 0)
      let address = UInt64(UInt(bitPattern: memory)) + UInt64(2 * pageSize)
      // The kernel lists pages whose rights differ as mappings of their own.
      unsafe mprotect(memory, 3 * pageSize, PROT_READ)
      #expect(throws: NetmapError.self) { try ProgramRange(at: address, byteCount: size) }
      unsafe mprotect(memory, 3 * pageSize, PROT_READ | PROT_WRITE)
      let range = try ProgramRange(at: address, byteCount: size - 1)
      #expect(range.byteCount == 4 * pageSize)
      var status = stat()
      #expect(unsafe fstat(file, &status) == 0)
      let expected = ProgramMemory.Origin(
        device: UInt64(status.st_dev), file: UInt64(status.st_ino), birth: 0,
        offset: UInt64(2 * pageSize))
      #expect(range.origin == (isKnown ? expected : nil))
      unsafe munmap(memory, 8 * pageSize)
      #expect(throws: NetmapError.self) { try ProgramRange(at: address, byteCount: size) }
    }
  }

  @Test(
    "netmapd refuses any size and number that cannot be, and isolated ports, and stays in order")
  func refusals() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    func code(
      _ change: (inout ProgramMemory) -> Void, _ extensions: PortExtensions = []
    ) -> NetmapError.Code? {
      var memory = ProgramMemory(byteCount: 16 << 20, objects: ProgramMemory.defaults)
      change(&memory)
      do throws(NetmapError) {
        var request = RegisterRequest(name: try PortName("vale0:a"), extensions: extensions)
        request.memory = memory
        let opened = try connection.register(request)
        opened.token.close()
        connection.forget(opened.registration)
        return nil
      } catch {
        return error.code
      }
    }
    #expect(code { _ in } == nil)
    for byteCount in [0, 1, 4095, 1 << 40, 1 << 41, 1 << 62, Int.max] {
      let refusal = code { $0.byteCount = byteCount }
      #expect(refusal == (byteCount == 1 << 40 ? nil : .outOfMemory), "\(byteCount)")
    }
    let all = Int(UInt32.max)
    for value in [0, 1, 63, 65, 100, 4097, all] {
      #expect(code { $0.objects.bufferSize = value } == .invalidArgument)
      #expect(code { $0.objects.ringSize = value } == .invalidArgument)
    }
    for count in [0, all] {
      #expect(code { $0.objects.bufferCount = count } == .invalidArgument)
      #expect(code { $0.objects.ringCount = count } == .invalidArgument)
      #expect(code { $0.objects.interfaceCount = count } == .invalidArgument)
    }
    for size in [0, 4, 1001, all] {
      #expect(code { $0.objects.interfaceSize = size } == .invalidArgument)
    }
    #expect(code { $0.objects.interfaceSize = 64 } == .outOfMemory)
    #expect(code { $0.objects.ringSize = 256 } == .outOfMemory)
    #expect(code({ _ in }, .isolated) == .unsupported)
    #expect(try fixture.isSound("after the refusals"))
  }

  @Test("two processes that name one place have one region, and it ends with its last port")
  func sharing() throws {
    let fixture = try DaemonFixture()
    let first = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let second = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    func open(_ connection: DaemonConnection, _ name: String) throws -> Opened {
      var request = RegisterRequest(name: try PortName(name))
      request.memory = ProgramMemory(
        byteCount: 32 << 20, objects: ProgramMemory.defaults,
        origin: .init(device: 1, file: .max, birth: .max, offset: .max))
      return try connection.register(request)
    }
    let one = try open(first, "vale0:a")
    let two = try open(second, "vale0:b")
    #expect(one.registration.memoryID == two.registration.memoryID)
    #expect(one.registration.region.identity == two.registration.region.identity)
    let id = one.registration.memoryID
    one.token.close()
    first.forget(one.registration)
    #expect(try second.portInfo(nil, memoryID: id).memorySize == 32 << 20)
    two.token.close()
    second.forget(two.registration)
    #expect(throws: NetmapError.self) { try second.portInfo(nil, memoryID: id) }
    #expect(try fixture.isSound("after the last port"))
  }
}
