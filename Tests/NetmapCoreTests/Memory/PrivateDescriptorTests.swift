import CLinux
import Glibc
import NetmapCore
import Testing

@Suite("Private descriptors", .serialized)
struct PrivateDescriptorTests {
  private func open() throws -> CInt {
    let file = unsafe memfd_create("private", 0)
    try #require(file >= 0)
    return file
  }

  @Test("the table names them from their making to their end, and no other descriptors")
  func table() throws {
    let plain = OwnedFile(try open())
    var file: OwnedFile? = OwnedFile(private: try open())
    let number = try #require(file?.descriptor)
    #expect(PrivateDescriptors.contains(number))
    #expect(!PrivateDescriptors.contains(plain.descriptor))
    #expect(fcntl(number, F_GETFD) == FD_CLOEXEC)
    for number in [-1, CInt.max, 1 << 20] { #expect(!PrivateDescriptors.contains(number)) }
    file = nil
    #expect(!PrivateDescriptors.contains(number))
  }

  @Test("a descriptor that the program has closed is not closed again, whatever has its number now")
  func foreign() throws {
    var file: OwnedFile? = OwnedFile(private: try open())
    let number = try #require(file?.descriptor)
    let other = try open()
    // As after a loop over all numbers: the number is another file's.
    #expect(dup2(other, number) == number)
    defer {
      close(other)
      close(number)
    }
    #expect(file?.isIntact == false)
    file = nil
    #expect(fcntl(number, F_GETFD) >= 0)
    #expect(!PrivateDescriptors.contains(number))
  }

  @Test("nor is one whose number another private descriptor has")
  func successor() throws {
    var file: OwnedFile? = OwnedFile(private: try open())
    let number = try #require(file?.descriptor)
    close(number)
    let next = try open()
    if next != number {
      #expect(dup2(next, number) == number)
      close(next)
    }
    let successor = OwnedFile(private: number)
    #expect(successor.descriptor == number)
    file = nil
    #expect(successor.isIntact)
    #expect(PrivateDescriptors.contains(number))
  }
}
